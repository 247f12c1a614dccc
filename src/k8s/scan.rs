//! Passes over JSON in the layout that Go writes, with no blanks in it, and does not check it. Whoever finds
//! anything else leaves the text to the general reader.

/// A place in a text. Most of the text is strings, which are passed over without a look at each byte.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// A string.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    quoted: &'a str,
    has_escapes: bool,
}

impl<'a> Text<'a> {
    /// The text, if it has no escapes.
    pub fn plain(self) -> Option<&'a str> {
        self.quoted.get(1..self.quoted.len() - 1).filter(|_| !self.has_escapes)
    }

    /// The text, if its escapes are right.
    pub fn read(self) -> Option<String> {
        match self.plain() {
            Some(plain) => Some(plain.to_owned()),
            None => serde_json::from_str(self.quoted).ok(),
        }
    }

    /// The number of its bytes with its escapes, which are longer than what they stand for.
    pub fn length(self) -> usize {
        self.quoted.len() - 2
    }
}

impl<'a> Scan<'a> {
    pub fn of(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Passes over this byte, if it is the next one.
    pub fn eat(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// Passes over a string.
    pub fn string(&mut self) -> Option<Text<'a>> {
        let start = self.at;
        self.eat(b'"')?;
        let mut has_escapes = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let length = memchr::memchr2(b'"', b'\\', rest)?;
            if rest.get(length) == Some(&b'"') {
                self.at += length + 1;
                return Some(Text { quoted: self.text.get(start..self.at)?, has_escapes });
            }
            // An escape, and the byte that it stands for or begins with.
            has_escapes = true;
            self.at += length + 2;
        }
    }

    /// Passes over the members of an object. `value` gets each name and must pass over its value.
    pub fn members(
        &mut self,
        mut value: impl FnMut(&mut Self, Text<'a>) -> Option<()>,
    ) -> Option<()> {
        self.eat(b'{')?;
        if self.eat(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.eat(b':')?;
            value(self, name)?;
            if self.eat(b',').is_none() {
                return self.eat(b'}');
            }
        }
    }

    /// Passes over a value of any kind.
    pub fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.next()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                // A part of a number, true, false or null, or a comma or colon within a list or object.
                _ => {
                    self.at += 1;
                    if depth > 0 || !matches!(self.next()?, b',' | b'}' | b']') {
                        continue;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Scan;

    #[test]
    fn values_of_any_kind_are_passed_over() {
        for value in [
            r#""""#,
            r#""a\"}]\\""#,
            "null",
            "-1.5e3",
            "{}",
            "[]",
            r#"{"a":[1,{"b":"}"},null],"c":{"d":"\""}}"#,
            r#"[[],[{"a":"]"}],"x"]"#,
        ] {
            for behind in [",", "}", "]"] {
                let text = format!("{value}{behind}");
                let mut scan = Scan::of(&text);
                assert!(scan.skip().is_some(), "{text}");
                assert_eq!(&text[scan.at..], behind, "{text}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_ends_nowhere() {
        let whole = r#"{"a":["b\"",{"c":null}],"d":-1}"#;
        for end in 0..whole.len() {
            assert_eq!(Scan::of(&whole[..end]).skip(), None, "{}", &whole[..end]);
            let members = Scan::of(&whole[..end]).members(|scan, _| scan.skip());
            assert_eq!(members, None, "{}", &whole[..end]);
        }
        let mut names = Vec::new();
        let members = Scan::of(whole).members(|scan, name| {
            names.push(name.plain().unwrap());
            scan.skip()
        });
        assert_eq!((members, names), (Some(()), vec!["a", "d"]));
    }
}
