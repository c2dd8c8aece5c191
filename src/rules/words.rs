//! Words of a Dockerfile instruction: split as its parser does it, then with quotes, escapes and
//! variables resolved as its shell does it.

use std::iter::Peekable;
use std::str::Chars;

use model::{Error, Result};

/// Splits at blanks outside of quotes; quotes and escapes stay in the words.
pub(crate) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            // Single quotes know no escape.
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A word without its quotes and escapes, and with the variables of `env`, which are `KEY=value`.
///
/// # Errors
/// A quote or brace that does not end (400); a form of `${...}` that is not built (501).
pub(crate) fn resolve(word: &str, env: &[String]) -> Result<String> {
    let mut chars = word.chars().peekable();
    let mut out = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\'' => single_quoted(&mut chars, &mut out)?,
            '"' => double_quoted(&mut chars, &mut out, env)?,
            '\\' => out.extend(chars.next()),
            '$' => variable(&mut chars, &mut out, env)?,
            c => out.push(c),
        }
    }
    Ok(out)
}

fn single_quoted(chars: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<()> {
    for c in chars {
        if c == '\'' {
            return Ok(());
        }
        out.push(c);
    }
    Err(unended("single-quote"))
}

fn double_quoted(chars: &mut Peekable<Chars<'_>>, out: &mut String, env: &[String]) -> Result<()> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '$' => variable(chars, out, env)?,
            '\\' => match chars.next() {
                Some(c @ ('"' | '$' | '\\')) => out.push(c),
                other => {
                    out.push('\\');
                    out.extend(other);
                }
            },
            c => out.push(c),
        }
    }
    Err(unended("double-quote"))
}

/// What follows a `$`: a name, or one in braces. Anything else leaves the `$` alone.
fn variable(chars: &mut Peekable<Chars<'_>>, out: &mut String, env: &[String]) -> Result<()> {
    let in_braces = chars.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    if in_braces {
        match chars.next() {
            Some('}') if !name.is_empty() => {}
            Some(_) => {
                return Err(Error::not_implemented(
                    "${NAME} with a modifier in changes is not implemented by moored yet",
                ));
            }
            None => return Err(unended("brace")),
        }
    } else if name.is_empty() {
        out.push('$');
    }
    let value = env
        .iter()
        .find_map(|e| e.strip_prefix(&name)?.strip_prefix('='));
    out.push_str(value.unwrap_or_default());
    Ok(())
}

fn unended(what: &str) -> Error {
    Error::invalid(format!(
        "unexpected end of statement while looking for matching {what}"
    ))
}

/// Reads `["a", "b"]`; `None` when the text is anything else, which makes it another form.
pub(crate) fn json_list(text: &str) -> Option<Vec<String>> {
    let mut rest = text.strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let (word, after) = json_string(rest)?;
        words.push(word);
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(more) if !more.trim().is_empty() => rest = more.trim_start(),
            Some(_) => return None,
            None if rest.is_empty() => {}
            None => return None,
        }
    }
    Some(words)
}

/// One JSON string; the rest after it.
fn json_string(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut word = String::new();
    loop {
        match chars.next()? {
            '"' => return Some((word, chars.as_str())),
            '\\' => word.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let hex = chars.as_str().get(..4)?;
                    chars = chars.as_str()[4..].chars();
                    char::from_u32(u32::from_str_radix(hex, 16).ok()?)?
                }
                c @ ('"' | '\\' | '/') => c,
                _ => return None,
            }),
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_blanks_outside_of_quotes() {
        let words = split(r#"a=1  b="x y" c='x" y' d=x\ y e="x\" y""#);
        let wanted = [
            "a=1",
            r#"b="x y""#,
            r#"c='x" y'"#,
            r"d=x\ y",
            r#"e="x\" y""#,
        ];
        assert_eq!(words, wanted);
        assert!(split("  ").is_empty());
    }

    #[test]
    fn quotes_escapes_and_variables_are_resolved() {
        let env = ["PATH=/bin".to_owned(), "A=1=2".to_owned()];
        for (word, wanted) in [
            (r#""x y"'z"$A'"#, "x yz\"$A"),
            (r#"x\ y\"\z"#, "x y\"z"),
            (r#""a\"b\n""#, "a\"b\\n"),
            ("/x:$PATH:${A}b$NO$", "/x:/bin:1=2b$"),
            (r"\$PATH", "$PATH"),
        ] {
            assert_eq!(resolve(word, &env).unwrap(), wanted, "{word}");
        }
        for bad in ["'x", "\"x", "${A", "${A:-x}", "${}"] {
            assert!(resolve(bad, &env).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_list_of_strings_is_a_list() {
        let list = json_list(r#"[ "a\u0041\n" , "b" ]"#).unwrap();
        assert_eq!(list, ["aA\n", "b"]);
        assert_eq!(json_list("[]").unwrap().len(), 0);
        for other in [
            "a",
            r#"["a",]"#,
            r#"["a" "b"]"#,
            "[1]",
            r#"["\u00"]"#,
            "['a']",
        ] {
            assert_eq!(json_list(other), None, "{other}");
        }
    }
}
