//! Gauges of certificates, as they were last read.

use prometheus::Error;

use crate::pki::authority::Step;

use super::registry::Registry;

/// What is known of certificates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Certificates {
    /// When the serving certificate expires, as Unix time, if there is one.
    pub serving_expires: Option<i64>,
    /// The CA of the Secret, if that is where the serving certificate comes from.
    pub ca: Option<Ca>,
}

/// What is known of the CA.
#[derive(Clone, Copy, Debug)]
pub struct Ca {
    /// When it expires, as Unix time.
    pub expires: i64,
    /// The step of a change of CA that an administrator should take.
    pub step_due: Option<Step>,
}

/// Sets all gauges of certificates.
pub(super) fn gauges(registry: &Registry, certificates: &Certificates) -> Result<(), Error> {
    if let Some(expires) = certificates.serving_expires {
        let help = "When the serving certificate expires, as Unix time.";
        registry.gauge("certificate_expiry_timestamp_seconds", help)?.set(expires);
    }
    if let Some(Ca { expires, step_due }) = certificates.ca {
        let help = "When the CA of the serving certificate expires, as Unix time.";
        registry.gauge("ca_expiry_timestamp_seconds", help)?.set(expires);
        let help = "Whether an administrator should take this step of a change of CA: 1 or 0.";
        let steps = registry.gauges("ca_step_due", help, "step")?;
        for step in Step::ALL {
            let is_due = step_due == Some(step);
            steps.with_label_values(&[step.as_str()]).set(i64::from(is_due));
        }
    }
    Ok(())
}
