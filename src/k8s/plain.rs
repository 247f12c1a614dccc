//! Errors of serde and `serde_json` in the words of Kubernetes' API server: what stands there, and
//! what must. No type of Rust, and no position inside a value: a caller puts the path before it.

/// The most characters of a value that a message repeats, and of a path.
pub(super) const MAX_ECHO: usize = 64;
/// The most characters of a message that is not about a value.
const MAX_TEXT: usize = 512;

/// The messages of `serde_json` about text that is not JSON. The first one is Go's, word for word.
const SYNTAX: [(&str, &str); 15] = [
    ("EOF while parsing", "unexpected end of JSON input"),
    ("expected ident", "only true, false and null may be written without quotes in JSON"),
    ("expected value", "a valid JSON value is missing"),
    ("expected `:`", "':' is missing after a key of a JSON object"),
    ("expected `,` or `]`", "',' or ']' is missing after an element of a JSON list"),
    ("expected `,` or `}`", "',' or '}' is missing after a member of a JSON object"),
    ("trailing comma", "a comma stands before the end of a JSON list or object"),
    ("trailing characters", "there is more text after the JSON value"),
    ("key must be a string", "a key of a JSON object must be a string in double quotes"),
    ("control character", "a string has a control character that is not escaped"),
    ("invalid escape", "a string has an invalid escape sequence"),
    ("invalid number", "invalid JSON number"),
    ("number out of range", "a number is too large"),
    ("recursion limit exceeded", "lists and objects are nested too deeply"),
    ("invalid unicode code point", "a string is not valid Unicode"),
];

/// The text of an error in plain words. That of a missing field begins with a dot and its name, which
/// extend the path. A text that is in plain words already stays as it is.
pub(super) fn plain(error: &str) -> String {
    let error = without_position(error);
    let pair = |rest: Option<&'_ str>| {
        let (found, expected) = rest?.rsplit_once(", expected ")?;
        Some((found.to_owned(), expected.to_owned()))
    };
    if let Some((found, expected)) = pair(error.strip_prefix("invalid type: ")) {
        return format!("Invalid value: {}: must be {}", value(&found), kind(&expected));
    }
    if let Some((found, expected)) = pair(error.strip_prefix("invalid value: ")) {
        let bits = expected.trim_start_matches(['i', 'u']);
        let expected = match bits {
            "8" => "an 8-bit integer".to_owned(),
            "16" | "32" | "64" => format!("a {bits}-bit integer"),
            _ => kind(&expected),
        };
        return format!("Invalid value: {}: must be {expected}", value(&found));
    }
    // The fields of an object can also be read from a list, by their position.
    if let Some((_, expected)) = pair(error.strip_prefix("invalid length ")) {
        return format!("Invalid value: a list: must be {}", kind(&expected));
    }
    if let Some(field) = quoted(error.strip_prefix("missing field ")) {
        return format!(".{field}: Required value");
    }
    if let Some(field) = quoted(error.strip_prefix("duplicate field ")) {
        return format!(".{field}: Duplicate value");
    }
    let variant = error.strip_prefix("unknown variant `");
    if let Some((found, expected)) = variant.and_then(|rest| rest.split_once("`, expected ")) {
        let supported = expected.trim_start_matches("one of ").replace("` or `", "`, `");
        let supported = supported.replace('`', "\"");
        return format!("Unsupported value: {}: supported values: {supported}", echo(found));
    }
    if let Some((_, words)) = SYNTAX.iter().find(|(message, _)| error.starts_with(message)) {
        return (*words).to_owned();
    }
    // Of the messages of `serde_json`, only those about Unicode escapes are left.
    match error {
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "a string has an invalid escape sequence".to_owned()
        }
        other => cut(other, MAX_TEXT),
    }
}

/// A string as it stands there, in quotes, of which a message repeats only the beginning.
pub(super) fn echo(text: &str) -> String {
    format!("{:?}", cut(text, MAX_ECHO))
}

/// A text of at most `max` characters, and an ellipsis if more were there.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned() + "…",
        None => text.to_owned(),
    }
}

/// The message without the line and column that `serde_json` appends.
fn without_position(error: &str) -> &str {
    let Some((message, position)) = error.rsplit_once(" at line ") else { return error };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_position = position
        .split_once(" column ")
        .is_some_and(|(line, column)| is_number(line) && is_number(column));
    if is_position { without_position(message) } else { error }
}

fn quoted(text: Option<&str>) -> Option<&str> {
    text?.strip_prefix('`')?.strip_suffix('`')
}

/// What serde calls "unexpected".
fn value(found: &str) -> String {
    if let Some(string) = found.strip_prefix("string ") {
        let inner = string.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let string = inner.unwrap_or(string);
        return format!("\"{}\"", cut(string, MAX_ECHO));
    }
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "an object".to_owned(),
        // "integer `5`", "floating point `1.5`", "boolean `true`"
        _ => quoted(found.find('`').and_then(|start| found.get(start..)))
            .map_or_else(|| cut(found, MAX_ECHO), |literal| cut(literal, MAX_ECHO)),
    }
}

/// What serde expects.
fn kind(expected: &str) -> String {
    let words = match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => {
            "an integer"
        }
        "f32" | "f64" => "a number",
        "bool" => "a boolean",
        "a sequence" => "a list",
        "a borrowed string" | "string" | "variant identifier" | "field identifier" => "a string",
        _ if expected.starts_with("struct ") || expected == "a map" => "an object",
        _ if expected.starts_with("enum ") => "a string",
        other => other,
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Sample {
        number: i64,
        small: u8,
        text: String,
        flag: bool,
        list: Vec<String>,
        object: Option<Inner>,
        choice: Choice,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[serde(rename = "name")]
        _name: String,
    }

    #[derive(Debug, Default, Deserialize)]
    enum Choice {
        #[default]
        A,
        B,
    }

    fn said(text: &str) -> String {
        plain(&serde_json::from_str::<Sample>(text).unwrap_err().to_string())
    }

    #[test]
    fn a_wrong_value_is_told_as_kubernetes_tells_it() {
        for (text, expected) in [
            (r#"{"number":"big"}"#, r#"Invalid value: "big": must be an integer"#),
            (r#"{"number":1.5}"#, "Invalid value: 1.5: must be an integer"),
            (r#"{"number":null}"#, "Invalid value: null: must be an integer"),
            (
                r#"{"number":9223372036854775808}"#,
                "Invalid value: 9223372036854775808: must be a 64-bit integer",
            ),
            (r#"{"number":""}"#, "Invalid value: \"\": must be an integer"),
            (r#"{"small":-1}"#, "Invalid value: -1: must be an 8-bit integer"),
            (r#"{"text":7}"#, "Invalid value: 7: must be a string"),
            (r#"{"text":[]}"#, "Invalid value: a list: must be a string"),
            (r#"{"flag":"yes"}"#, r#"Invalid value: "yes": must be a boolean"#),
            (r#"{"list":{}}"#, "Invalid value: an object: must be a list"),
            (r#"{"object":true}"#, "Invalid value: true: must be an object"),
            (r#"{"object":[]}"#, "Invalid value: a list: must be an object"),
            (r#"{"object":{}}"#, ".name: Required value"),
            (r#"{"text":"a","text":"b"}"#, ".text: Duplicate value"),
            (r#"{"choice":"C"}"#, r#"Unsupported value: "C": supported values: "A", "B""#),
            (
                r#"{"number":"x, expected y\" at line 1 column 2"}"#,
                r#"Invalid value: "x, expected y\" at line 1 column 2": must be an integer"#,
            ),
        ] {
            assert_eq!(said(text), expected, "{text}");
            assert_eq!(plain(expected), expected, "said twice: {text}");
        }
    }

    #[test]
    fn text_that_is_not_json_is_told_in_plain_words() {
        for text in [
            "",
            "{",
            "[",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\" 1}",
            "{\"a\":1 1}",
            "{\"a\":1,}",
            "{a}",
            "{1:1}",
            "{}x",
            "{\"a\":tru}",
            "{\"a\":nul}",
            "{\"a\":01}",
            "{\"a\":-}",
            "{\"text\":1e999}",
            "{\"a\":x}",
            "{\"a\":[1 1]}",
            "{\"a\":[1,]}",
            "{\"text\":\"\\x\"}",
            "{\"text\":\"\n\"}",
            "{\"text\":\"\\ud800\"}",
            "{\"text\":\"\\ud800\\u0041\"}",
            "{\"text\":\"\\u00",
            "{\"text\":\"a",
        ] {
            let error = serde_json::from_str::<Sample>(text).unwrap_err().to_string();
            let said = plain(&error);
            assert_ne!(said, without_position(&error), "{text}: no words for {error}");
            assert!(!said.contains(['`']) && !said.contains("line"), "{text}: {said}");
        }
        let deep = plain(
            &serde_json::from_str::<serde_json::Value>(&"[".repeat(200)).unwrap_err().to_string(),
        );
        assert_eq!(deep, "lists and objects are nested too deeply");
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        let long = format!(r#"{{"number":"{}"}}"#, "é".repeat(100_000));
        let expected = format!("Invalid value: \"{}…\": must be an integer", "é".repeat(64));
        assert_eq!(said(&long), expected);
        let long = format!(r#"{{"choice":"{}"}}"#, "é".repeat(100_000));
        assert!(said(&long).chars().count() < 2 * MAX_ECHO + 32);
        assert!(plain(&"é".repeat(100_000)).chars().count() <= MAX_TEXT + 1);
    }
}
