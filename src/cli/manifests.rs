//! The arguments of `lanekeeper manifests`, and what they ask for.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cluster::is_dns_subdomain;
use crate::commands::manifests::{
    Address, Hosts, Installation, Issuer, Overlay, Scheduler, Server, Wiring,
};
use crate::k8s::TRUSTED_USERS;
use crate::pki;

use super::namespace;

/// The image of this version.
const IMAGE: &str = concat!("ghcr.io/lanekeeper/lanekeeper:v", env!("CARGO_PKG_VERSION"));

/// The image of a second scheduler.
const SCHEDULER_IMAGE: &str = "registry.k8s.io/kube-scheduler:v1.33.0";

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

    /// Print what makes kube-scheduler ask Lanekeeper, in place of the installation. `kubeadm`, `rke2`,
    /// `harvester`: files for the hosts of a control plane that was set up so, with the steps to take
    /// as comments. `second`: a second scheduler, for a control plane that can't be edited.
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        conflicts_with_all = ["overlay", "image", "replicas", "trusted_users"]
    )]
    pub scheduler: Option<SchedulerArg>,

    /// The IP address and the port of the Service. kube-scheduler needs it where it uses the network
    /// of its host, which can't resolve the name of a Service.
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_parser = address,
        requires = "scheduler",
        conflicts_with = "url"
    )]
    pub scheduler_address: Option<String>,

    /// The image of the second scheduler, which should be of the version of the cluster
    /// [default: registry.k8s.io/kube-scheduler:v1.33.0].
    #[arg(long, value_name = "IMAGE", value_parser = image, requires = "scheduler")]
    pub scheduler_image: Option<String>,
}

/// The values of `--scheduler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the option says what they mean")]
pub enum SchedulerArg {
    Kubeadm,
    Rke2,
    Harvester,
    Second,
}

/// What is to be printed.
#[derive(Clone, Debug)]
pub enum Job {
    /// What an installation applies.
    Installation(Installation),
    /// What makes kube-scheduler ask Lanekeeper.
    Wiring(Wiring),
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
    /// A scheduler on its host's network has no address to call.
    #[error(
        "this scheduler needs --scheduler-address, the IP address and the port of the Service; `kubectl -n \
         {namespace} get service lanekeeper -o jsonpath='{{.spec.clusterIP}}:{{.spec.ports[0].port}}'` \
         prints it"
    )]
    NoAddress {
        /// The namespace of the Service.
        namespace: String,
    },
    /// The CA is to be written into the configuration of a scheduler.
    #[error("this scheduler needs --ca-file, since it reads the CA from its configuration; {how}")]
    NoAuthority {
        /// How to get the CA certificate.
        how: String,
    },
    /// A second scheduler is given an address.
    #[error("a second scheduler calls the Service by its name; leave --scheduler-address out")]
    NeedlessAddress,
    /// A second scheduler is given a CA, which it reads from a Secret.
    #[error(
        "a second scheduler reads the CA from its Secret; leave --ca-file out, or give --url too"
    )]
    NeedlessAuthority,
    /// A scheduler that is there already is given an image.
    #[error("--scheduler-image is for --scheduler=second")]
    NeedlessImage,
}

impl Manifests {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// If arguments are missing or exclude each other, or the file of `--ca-file` can't be used.
    pub fn job(self) -> Result<Job, WrongArguments> {
        let issuer = match self.certificate {
            CertificateArg::Secret => Issuer::Leader,
            CertificateArg::CertManager => Issuer::CertManager,
        };
        if issuer == Issuer::CertManager && self.url.is_some() {
            return Err(WrongArguments::CertManagerOutside);
        }
        let ca = self.ca_file.as_deref().map(pki::ca_certificates).transpose()?;
        match self.scheduler {
            Some(kind) => Ok(Job::Wiring(self.wiring(kind, issuer, ca)?)),
            None => Ok(Job::Installation(self.installation(issuer, ca)?)),
        }
    }

    fn installation(
        self,
        certificate: Issuer,
        ca: Option<Vec<u8>>,
    ) -> Result<Installation, WrongArguments> {
        if certificate == Issuer::CertManager && ca.is_some() {
            return Err(WrongArguments::TwoAuthorities);
        }
        Ok(Installation {
            overlay: match self.overlay {
                OverlayArg::KubeVirt => Overlay::KubeVirt,
                OverlayArg::Harvester => Overlay::Harvester,
            },
            namespace: self.namespace,
            server: match self.url {
                Some(url) => Server::At(url),
                None => Server::InCluster { image: self.image, replicas: self.replicas },
            },
            certificate,
            ca,
            trusted_users: self.trusted_users,
        })
    }

    fn wiring(
        self,
        kind: SchedulerArg,
        certificate: Issuer,
        ca: Option<Vec<u8>>,
    ) -> Result<Wiring, WrongArguments> {
        let Self { namespace, url, scheduler_address, scheduler_image, .. } = self;
        let no_authority = || {
            let how = match certificate {
                Issuer::Leader => "`lanekeeper certs ca show` prints it".to_owned(),
                Issuer::CertManager => format!(
                    "`kubectl -n {namespace} get secret lanekeeper-cert -o \
                     jsonpath='{{.data.ca\\.crt}}' | base64 -d` prints it"
                ),
            };
            WrongArguments::NoAuthority { how }
        };
        let hosts = match kind {
            SchedulerArg::Kubeadm => Hosts::Kubeadm,
            SchedulerArg::Rke2 => Hosts::Rke2,
            SchedulerArg::Harvester => Hosts::Harvester,
            SchedulerArg::Second => {
                let outside = match (url, ca) {
                    (Some(url), Some(ca)) => Some((url, ca)),
                    (Some(_), None) => return Err(no_authority()),
                    (None, Some(_)) => return Err(WrongArguments::NeedlessAuthority),
                    (None, None) => None,
                };
                if scheduler_address.is_some() {
                    return Err(WrongArguments::NeedlessAddress);
                }
                let image = scheduler_image.unwrap_or_else(|| SCHEDULER_IMAGE.to_owned());
                let scheduler = Scheduler::Second { image, outside, certificate };
                return Ok(Wiring { namespace, scheduler });
            }
        };
        if scheduler_image.is_some() {
            return Err(WrongArguments::NeedlessImage);
        }
        let server = match (url, scheduler_address) {
            (Some(url), _) => Address::Url(url),
            (None, Some(address)) => Address::Service(address),
            (None, None) => return Err(WrongArguments::NoAddress { namespace }),
        };
        let ca = ca.ok_or_else(no_authority)?;
        Ok(Wiring { namespace, scheduler: Scheduler::OnHosts { hosts, server, ca } })
    }
}

/// Why an argument can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Malformed {
    #[error("the address must begin with https://, since the API server calls nothing else")]
    Scheme,
    #[error("the address must be HOST:PORT, without a user, path, query or fragment")]
    Address,
    #[error("{0:?} is not a host name or an IP address")]
    Host(String),
    #[error("{0:?} is not a port, which is a number from 1 to 65535")]
    Port(String),
    #[error("the port is missing: give HOST:PORT")]
    NoPort,
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

/// Checks HOST:PORT.
fn address(text: &str) -> Result<String, Malformed> {
    host_and_port(text)?.ok_or(Malformed::NoPort)?;
    Ok(text.to_owned())
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
    use super::{Malformed, address, https, image};

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
    fn a_schedulers_address_has_a_port() {
        for text in ["10.43.0.7:443", "[fd00::1]:443", "lanekeeper.example.com:8443"] {
            assert_eq!(address(text).as_deref(), Ok(text));
        }
        for text in ["10.43.0.7", "[fd00::1]", "host"] {
            assert_eq!(address(text), Err(Malformed::NoPort), "{text}");
        }
        for text in ["https://host:443", "host:443/", "fd00::1", "host:"] {
            assert!(address(text).is_err(), "{text}");
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
