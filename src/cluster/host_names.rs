//! The names of all hosts in one text, so that a list of many names is compared with it at once.

use std::ops::Range;

/// Stands for a number without a host, and for a name that JSON escapes. No JSON has it.
const NONE: &str = "\u{1}";

/// How many names of a run are counted one by one.
const FEW: usize = 4;

/// By number, each host's name as an element of a JSON list: in quotes, with a comma behind it.
#[derive(Clone, Default)]
pub(super) struct HostNames {
    text: String,
    /// Where the element of each number ends.
    ends: Vec<u32>,
}

impl HostNames {
    /// Sets the name of a number, or clears it. Numbers are given in order.
    pub fn set(&mut self, number: u32, name: Option<&str>) {
        let plain = |name: &&str| !name.bytes().any(|it| it < b' ' || it == b'"' || it == b'\\');
        let element = name.filter(plain).map(|name| format!("\"{name}\","));
        let element = element.as_deref().unwrap_or(NONE);
        let old = self.place(number..number + 1);
        let longer = element.len().wrapping_sub(old.len());
        self.text.replace_range(old.clone(), element);
        if number as usize == self.ends.len() {
            self.ends.push(offset(old.end));
        }
        for end in self.ends.iter_mut().skip(number as usize) {
            *end = offset((*end as usize).wrapping_add(longer));
        }
    }

    /// Returns whether this name, in quotes, is that of the number.
    pub fn is(&self, number: u32, quoted: &str) -> bool {
        let element = self.text.as_bytes().get(self.place(number..number + 1));
        element.and_then(<[u8]>::split_last).is_some_and(|(_, name)| name == quoted.as_bytes())
    }

    /// Where the elements of these numbers lie in the text.
    pub fn place(&self, numbers: Range<u32>) -> Range<usize> {
        let end = |number: u32| match number.checked_sub(1) {
            Some(before) => {
                self.ends.get(before as usize).map_or(self.text.len(), |end| *end as usize)
            }
            None => 0,
        };
        end(numbers.start)..end(numbers.end)
    }

    /// Where the element of each of these numbers lies, from that of the first one on.
    pub fn places(&self, numbers: Range<u32>) -> impl Iterator<Item = Range<usize>> + '_ {
        let begin = self.place(numbers.clone()).start;
        let ends = self.ends.get(numbers.start as usize..numbers.end as usize).unwrap_or_default();
        let mut start = 0;
        ends.iter().map(move |end| {
            let end = *end as usize - begin;
            std::mem::replace(&mut start, end)..end
        })
    }

    /// The numbers from `first` on whose names `list` begins with, each with a comma behind it or at the
    /// end of the list.
    pub fn run(&self, first: u32, list: &str) -> Range<u32> {
        let begin = self.place(first..first).start;
        let (text, list) = (self.text.as_bytes(), list.as_bytes());
        let common = common(text.get(begin..).unwrap_or_default(), list);
        let ends = self.ends.get(first as usize..).unwrap_or_default();
        let fits = |end: &u32| *end as usize - begin <= common;
        // Most runs are either of one name or of very many.
        let mut whole = ends.iter().take(FEW).take_while(|end| fits(end)).count();
        if whole == FEW {
            // No element takes less than a byte, so that only so many can end there.
            whole = ends.get(..=common).unwrap_or(ends).partition_point(fits);
        }
        // The last name of a list has no comma behind it.
        let cut = ends.get(whole).is_some_and(|end| *end as usize - begin == list.len() + 1);
        let count = whole + usize::from(cut && common == list.len() && !list.is_empty());
        first..first + u32::try_from(count).unwrap_or_default()
    }
}

/// An offset into the text, which is far shorter than 4 GiB.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The number of bytes with which both begin.
fn common(a: &[u8], b: &[u8]) -> usize {
    let (a_parts, _) = a.as_chunks::<32>();
    let (b_parts, _) = b.as_chunks::<32>();
    let same = 32 * a_parts.iter().zip(b_parts).take_while(|(a, b)| a == b).count();
    let (mut a, mut b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    let mut more = 0;
    while let (Some((a_word, a_rest)), Some((b_word, b_rest))) =
        (a.split_first_chunk::<8>(), b.split_first_chunk::<8>())
    {
        let differ = u64::from_le_bytes(*a_word) ^ u64::from_le_bytes(*b_word);
        if differ != 0 {
            return same + more + differ.trailing_zeros() as usize / 8;
        }
        (a, b) = (a_rest, b_rest);
        more += 8;
    }
    same + more + std::iter::zip(a, b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> HostNames {
        let mut all = HostNames::default();
        for (number, name) in (0..).zip(names) {
            all.set(number, Some(name));
        }
        all
    }

    #[test]
    fn a_run_ends_where_names_differ_or_end() {
        let all = names(&["a", "bb", "c", "dd"]);
        for (first, list, expected) in [
            (0, r#""a","bb","c","dd""#, 0..4),
            (0, r#""a","bb","c","#, 0..3),
            (0, r#""a","bb","c""#, 0..3),
            (0, r#""a","b""#, 0..1),
            (0, r#""a","bbb""#, 0..1),
            (0, r#""a"x"#, 0..0),
            (0, r#""a" ,"bb""#, 0..0),
            (1, r#""bb","a""#, 1..2),
            (2, r#""c","dd","a""#, 2..4),
            (0, r#""b""#, 0..0),
            (0, "", 0..0),
            (4, r#""a""#, 4..4),
            (9, r#""a""#, 9..9),
        ] {
            assert_eq!(all.run(first, list), expected, "{first} {list}");
        }
        let long: Vec<_> = (0..40).map(|number| format!("worker-{number:05}")).collect();
        let all = names(&long.iter().map(|name| &**name).collect::<Vec<_>>());
        let list = serde_json::to_string(&long).unwrap();
        let list = list.trim_matches(['[', ']']);
        assert_eq!(all.run(0, list), 0..40);
        for cut in 1..list.len() {
            let whole = list[..cut].split(',').filter(|name| name.len() == 14).count();
            assert_eq!(all.run(0, &list[..cut]).len(), whole, "{}", &list[..cut]);
        }
    }

    #[test]
    fn a_name_that_is_cleared_or_escaped_matches_nothing() {
        let mut all = names(&["a", "b\"", "c"]);
        assert_eq!(all.run(1, r#""b\"""#), 1..1);
        all.set(0, None);
        assert_eq!((all.run(0, "\n"), all.run(0, ""), all.run(2, "\"c\"")), (0..0, 0..0, 2..3));
        all.set(0, Some("longer"));
        all.set(1, Some(""));
        assert_eq!(all.run(0, r#""longer","","c""#), 0..3);
    }
}
