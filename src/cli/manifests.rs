//! The arguments of `lanekeeper manifests`, and what they ask for.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cluster::is_dns_subdomain;
use crate::commands::manifests::{Installation, Issuer, Overlay, Server};
use crate::k8s::TRUSTED_USERS;
use crate::pki;

use super::namespace;

/// The image of this version.
const IMAGE: &str = concat!("ghcr.io/lanekeeper/lanekeeper:v", env!("CARGO_PKG_VERSION"));

/// Arguments of `manifests`.
#[derive(Args, Debug)]
pub struct Manifests {
    /// What the cluster is. `kubevirt`: a cluster with KubeVirt and Multus, for which the output has
    /// the definitions of cluster networks and network configs. `harvester`: a Harvester cluster,
    /// which has them, and whose own programs label hosts and keep statuses.
    #[arg(long, value_enum, default_value = "kubevirt")]
    pub overlay: OverlayArg,

    /// The namespace of Lanekeeper.
    #[arg(long, default_value = "lanekeeper-system", value_name = "NAMESPACE", value_parser = namespace)]
    pub namespace: String,

    /// The container image.
    #[arg(long, default_value = IMAGE, value_name = "IMAGE", value_parser = image)]
    pub image: String,

    /// The number of replicas. With one replica, there is no `PodDisruptionBudget`.
    #[arg(
        long,
        default_value = "2",
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub replicas: u16,

    /// The address of a server that runs outside the cluster. The output then has no Deployment and
    /// no Service, and the webhooks call this address. The server's certificate must be valid for
    /// HOST.
    #[arg(
        long,
        value_name = "https://HOST:PORT",
        value_parser = https,
        conflicts_with_all = ["image", "replicas"]
    )]
    pub url: Option<String>,

    /// The CA certificates that verify the server's certificate, in PEM. Without this flag, the
    /// leader writes its own CA into the webhook configurations.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Who issues the serving certificate. `secret`: the leader, which keeps it in the Secret
    /// `lanekeeper-tls`. `cert-manager`: cert-manager, which must be installed.
    #[arg(long, value_enum, default_value = "secret")]
    pub certificate: CertificateArg,

    /// A user who may write network configs of `mgmt`, as for `serve`. Repeatable, and replaces the
    /// default.
    #[arg(long = "trusted-user", default_values = TRUSTED_USERS, value_name = "USER")]
    pub trusted_users: Vec<String>,
}

/// The values of `--overlay`.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(missing_docs, reason = "the option says what they mean")]
pub enum OverlayArg {
    #[value(name = "kubevirt")]
    KubeVirt,
    Harvester,
}

/// The values of `--certificate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the option says what they mean")]
pub enum CertificateArg {
    Secret,
    CertManager,
}

/// Why the arguments can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WrongArguments {
    /// The file of `--ca-file` can't be used.
    #[error("--ca-file: {0}")]
    Ca(#[from] pki::Error),
    /// cert-manager is to issue the certificate of a server outside the cluster.
    #[error(
        "--certificate=cert-manager is for a server in the cluster; leave --url or --certificate out"
    )]
    CertManagerOutside,
    /// cert-manager and `--ca-file` both give the CA.
    #[error(
        "with --certificate=cert-manager, cert-manager writes its CA into the webhook \
         configurations; leave --ca-file out"
    )]
    TwoAuthorities,
}

impl Manifests {
    /// The installation that the arguments describe.
    ///
    /// # Errors
    /// If arguments exclude each other, or the file of `--ca-file` can't be used.
    pub fn installation(self) -> Result<Installation, WrongArguments> {
        let Self { overlay, namespace, image, replicas, url, ca_file, certificate, trusted_users } =
            self;
        let by_cert_manager = certificate == CertificateArg::CertManager;
        if by_cert_manager && url.is_some() {
            return Err(WrongArguments::CertManagerOutside);
        }
        if by_cert_manager && ca_file.is_some() {
            return Err(WrongArguments::TwoAuthorities);
        }
        Ok(Installation {
            overlay: match overlay {
                OverlayArg::KubeVirt => Overlay::KubeVirt,
                OverlayArg::Harvester => Overlay::Harvester,
            },
            namespace,
            server: match url {
                Some(url) => Server::At(url),
                None => Server::InCluster { image, replicas },
            },
            certificate: if by_cert_manager { Issuer::CertManager } else { Issuer::Leader },
            ca: ca_file.as_deref().map(pki::ca_certificates).transpose()?,
            trusted_users,
        })
    }
}

/// Why an argument can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Malformed {
    #[error("the address must begin with https://, since the API server calls nothing else")]
    Scheme,
    #[error("the address must be https://HOST:PORT, without a user, path, query or fragment")]
    Address,
    #[error("{0:?} is not a host name or an IP address")]
    Host(String),
    #[error("{0:?} is not a port, which is a number from 1 to 65535")]
    Port(String),
    #[error("an image is not empty and has no blanks")]
    Image,
}

/// Checks the server's address, and takes a slash at its end off.
fn https(text: &str) -> Result<String, Malformed> {
    let address = text.strip_prefix("https://").ok_or(Malformed::Scheme)?;
    let address = address.strip_suffix('/').unwrap_or(address);
    host_and_port(address)?;
    Ok(format!("https://{address}"))
}

/// Checks HOST or HOST:PORT. Returns the port.
fn host_and_port(address: &str) -> Result<Option<u16>, Malformed> {
    if address.contains(['/', '?', '#', '@', '\\']) {
        return Err(Malformed::Address);
    }
    let port = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(Malformed::Address)?;
        host.parse::<Ipv6Addr>().map_err(|_| Malformed::Host(host.to_owned()))?;
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err(Malformed::Address);
        }
        port
    } else {
        let (host, port) = match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        };
        if !is_dns_subdomain(&host.to_ascii_lowercase()) {
            return Err(Malformed::Host(host.to_owned()));
        }
        port
    };
    port.map(self::port).transpose()
}

fn port(text: &str) -> Result<u16, Malformed> {
    let is_number = text.bytes().all(|it| it.is_ascii_digit());
    let port = text.parse().ok().filter(|port| is_number && *port > 0);
    port.ok_or_else(|| Malformed::Port(text.to_owned()))
}

fn image(text: &str) -> Result<String, Malformed> {
    let is_image = !text.is_empty() && !text.contains(char::is_whitespace);
    is_image.then(|| text.to_owned()).ok_or(Malformed::Image)
}

#[cfg(test)]
mod tests {
    use super::{Malformed, https, image};

    #[test]
    fn the_servers_address_is_a_host_and_a_port() {
        for address in [
            "https://lanekeeper.example.com:8443",
            "https://lanekeeper",
            "https://10.0.0.1:1",
            "https://10.0.0.1:65535",
            "https://[fd00::1]:8443",
            "https://[fd00::1]",
            "https://Lanekeeper.Example.COM:8443",
        ] {
            assert_eq!(https(address).as_deref(), Ok(address));
        }
        assert_eq!(https("https://host:1/").as_deref(), Ok("https://host:1"));
        for address in ["http://host:8443", "host:8443", "", "HTTPS://host"] {
            assert_eq!(https(address), Err(Malformed::Scheme), "{address}");
        }
        for address in [
            "https://host:8443/path",
            "https://host//",
            "https://host?query",
            "https://host#fragment",
            "https://user@host",
            r"https://host\path",
            "https://[fd00::1",
            "https://[fd00::1]8443",
        ] {
            assert_eq!(https(address), Err(Malformed::Address), "{address}");
        }
        for address in ["https://", "https://:8443", "https://a b", "https://[host]:1", "https://-"]
        {
            assert!(matches!(https(address), Err(Malformed::Host(_))), "{address}");
        }
        for port in ["", "0", "65536", "-1", "+1", "1x", "1:2", " 1"] {
            let wrong = https(&format!("https://host:{port}"));
            assert_eq!(wrong, Err(Malformed::Port(port.to_owned())));
        }
    }

    #[test]
    fn an_image_has_no_blanks() {
        assert!(image("lanekeeper").is_ok());
        for name in ["", " ", "a b", "a\n"] {
            assert_eq!(image(name), Err(Malformed::Image), "{name}");
        }
    }
}
