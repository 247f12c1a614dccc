//! Names in messages.

use std::fmt::Display;

/// How many names a message gives before it only counts.
const MOST_NAMES: usize = 20;

/// The names, separated by commas, cut after 20 (spec, section 5).
pub(super) fn list<T: Display>(names: impl IntoIterator<Item = T>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(MOST_NAMES).map(|name| name.to_string()).collect();
    let more = names.count();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn a_list_names_twenty_and_counts_the_rest() {
        let names = |n: usize| (0..n).map(|i| format!("vm{i}"));
        assert_eq!(list(names(0)), "");
        assert_eq!(list(names(2)), "vm0, vm1");
        assert!(list(names(20)).ends_with(", vm19"));
        assert!(list(names(21)).ends_with(", vm19 and 1 more"));
    }
}
