//! Values that many facts have are kept once: a host's name is in each of its VMIs and pods, and most
//! VMs ask for one of a few selections of VM networks.

use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::facts::{LauncherPod, Moves, Selection, Vm, Vmi};
use super::names::{Key, Name};
use super::selectors::{HostChoice, Labels};

/// Shares equal values of facts. The keys of VMs are not among them, since each belongs to few objects,
/// which find one another in the state.
#[derive(Default)]
pub(super) struct Interner {
    /// Names of hosts, and labels.
    names: Pool<Name>,
    vm_networks: Pool<Key>,
    selections: Pool<Arc<Selection>>,
    choices: Pool<Arc<HostChoice>>,
}

impl Interner {
    /// Shares the labels of a host, or of a selector. Most are those of the version before, which are
    /// compared faster than looked up.
    pub fn labels(&mut self, labels: &mut Labels, before: Option<&Labels>) {
        let before = before.map(|labels| &*labels.0).unwrap_or_default();
        for (at, label) in labels.0.iter_mut().enumerate() {
            match before.get(at).filter(|known| *known == label) {
                Some(known) => label.clone_from(known),
                None => self.names.share(label),
            }
        }
    }

    pub fn vm(&mut self, vm: &mut Vm) {
        self.selections.share(&mut vm.networks);
        self.choices.share(&mut vm.hosts);
        vm.macs.iter_mut().for_each(|(_, vm_network)| self.vm_networks.share(vm_network));
    }

    pub fn vmi(&mut self, vmi: &mut Vmi) {
        self.selections.share(&mut vmi.networks);
        self.choices.share(&mut vmi.hosts);
        let moves = vmi.moves.iter_mut().flat_map(|moves| {
            let Moves { active_hosts, target, uid: _ } = &mut **moves;
            active_hosts.iter_mut().chain(target)
        });
        vmi.host.iter_mut().chain(moves).for_each(|host| self.names.share(host));
    }

    pub fn pod(&mut self, pod: &mut LauncherPod) {
        self.selections.share(&mut pod.networks);
        pod.host.iter_mut().for_each(|host| self.names.share(host));
    }
}

/// Values of one type, each once.
struct Pool<T> {
    values: HashSet<T, FixedState>,
    /// The number of values at which those that nothing else has any more are dropped.
    sweep_at: usize,
}

impl<T: Hash + Eq + Counted> Pool<T> {
    /// Replaces a value by the equal one that is known.
    fn share(&mut self, value: &mut T) {
        if let Some(known) = self.values.get(value) {
            value.clone_from(known);
            return;
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| !value.is_last());
            self.sweep_at = (2 * self.values.len()).max(1024);
        }
        self.values.insert(value.clone());
    }
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { values: HashSet::default(), sweep_at: 0 }
    }
}

/// A value that counts its references.
trait Counted: Clone {
    /// Returns whether this is the only reference to the value.
    fn is_last(&self) -> bool;
}

impl Counted for Name {
    fn is_last(&self) -> bool {
        Self::strong_count(self) == Some(1)
    }
}

impl Counted for Key {
    fn is_last(&self) -> bool {
        self.text().is_last()
    }
}

impl<T> Counted for Arc<T> {
    fn is_last(&self) -> bool {
        Self::strong_count(self) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_kept_once_and_dropped_when_nothing_has_them() {
        let mut pool = Pool::<Name>::default();
        let (mut first, mut second) = (Name::from("a"), Name::from("a"));
        pool.share(&mut first);
        pool.share(&mut second);
        assert!(std::ptr::addr_eq(first.as_ptr(), second.as_ptr()));
        for number in 0..10_000 {
            pool.share(&mut Name::from(number.to_string()));
        }
        assert!(
            pool.values.contains("a") && pool.values.len() <= 1024 + 1,
            "{}",
            pool.values.len()
        );
    }
}
