//! Takes secrets out of texts and objects: private keys, tokens, passwords, cookies. Pure.
//!
//! It errs on the side of taking out too much: what is left must do for finding a fault, and nobody can call it back.

use std::borrow::Cow;

use regex::{Captures, Regex};
use serde_json::Value;

/// What stands where something was.
pub(super) const GONE: &str = "***";

/// Names of fields, variables and header fields whose values are secrets.
const SECRET_NAMES: &str = "(?:[a-z0-9_.-]*(?:token|secret|passw(?:or)?d|passphrase|credential|api[_-]?key|private[_-]?key|access[_-]?key|cookie)s?|authorization|x-[a-z0-9-]*jwt[a-z0-9-]*)";

/// A text in quotes, which may be in quotes again, and may have been cut off.
const QUOTED: &str = r#"\\?"(?:[^"\\\r\n]|\\[^"])*(?:\\?")?|'[^'\r\n]*'?"#;

/// What is written instead of what was found.
type Replace = fn(&Captures<'_>) -> String;

/// The name and what stands between, kept.
fn named(found: &Captures<'_>) -> String {
    format!("{}{}{GONE}", &found[1], &found[2])
}

/// What takes secrets out.
#[derive(Debug)]
pub(super) struct Scrubber {
    /// Each with what takes its place.
    texts: Vec<(Regex, Replace)>,
    name: Regex,
}

impl Scrubber {
    /// All that it knows.
    ///
    /// # Errors
    /// Where a pattern of ours is none, which a test would tell.
    pub(super) fn new() -> Result<Self, regex::Error> {
        let rules: [(&str, Replace); 9] = [
            // To its end, or to the text's where it was cut off.
            (
                r"(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
                |_| format!("(private key {GONE})"),
            ),
            // The identity of an age file, and PEM in base64.
            (r"AGE-SECRET-KEY-[A-Z0-9]+|LS0tLS1CRUdJTi[A-Za-z0-9+/=]*", |_| GONE.to_owned()),
            // The first of its parts is JSON: a JWT; with five, one that is encrypted.
            (r"eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){1,4}", |_| GONE.to_owned()),
            // To the end of the line.
            (r#"(?i)\b((?:set-)?cookie|(?:proxy-)?authorization)(\\?["']?[ \t]*[:=][ \t]*)[^\r\n]+"#, named),
            (r#"(?i)\b(bearer|basic|digest|negotiate)([ \t]+)[^\s"',;]+"#, named),
            (r#"([a-zA-Z][a-zA-Z0-9+.-]*:)(//)[^\s/@"']+@"#, |it| format!("{}@", named(it))),
            (r#"(?i)(--SECRET_NAMES)([ \t]+)[^\s"']+"#, named),
            (r#"(?i)\b(SECRET_NAMES)(\\?["']?[ \t]*=[ \t]*)(?:QUOTED|[^\s,;&)}\]"']+)"#, named),
            // Prose has a colon after such a word too, and what comes next is shorter.
            (r#"(?i)\b(SECRET_NAMES)(\\?["']?[ \t]*:[ \t]*)(?:QUOTED|[^\s,;&)}\]"']{12,})"#, named),
        ];
        let texts = rules.into_iter().map(|(pattern, with)| {
            Ok((Regex::new(&pattern.replace("SECRET_NAMES", SECRET_NAMES).replace("QUOTED", QUOTED))?, with))
        });
        Ok(Self {
            texts: texts.collect::<Result<_, regex::Error>>()?,
            name: Regex::new(&format!("(?i)^{SECRET_NAMES}$"))?,
        })
    }

    /// A text without what it knows to be secret. What stands behind something that was taken out may be part of it, so it
    /// looks again until nothing more is found.
    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        loop {
            let scrubbed = self.once(&text);
            if scrubbed == text {
                return text;
            }
            text = scrubbed;
        }
    }

    fn once(&self, text: &str) -> String {
        let text = self.texts.iter().fold(Cow::Borrowed(text), |text, (pattern, with)| {
            match pattern.replace_all(&text, with) {
                Cow::Borrowed(_) => text,
                Cow::Owned(scrubbed) => Cow::Owned(scrubbed),
            }
        });
        text.into_owned()
    }

    /// An object without it, and without what repeats it for the API server's own use.
    pub(super) fn object(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => {
                // `--token` and its value, as arguments of a program.
                let mut is_next = false;
                for item in items {
                    let flag =
                        item.as_str().and_then(|it| it.strip_prefix("--")).map(|it| self.is_secret(it));
                    if is_next && item.is_string() {
                        *item = GONE.into();
                    } else {
                        self.object(item);
                    }
                    is_next = flag == Some(true);
                }
            }
            Value::Object(fields) => {
                fields.remove("managedFields");
                fields.remove("kubectl.kubernetes.io/last-applied-configuration");
                // A variable: its name tells what its value is.
                let is_secret =
                    fields.get("name").and_then(Value::as_str).is_some_and(|it| self.is_secret(it));
                for (name, value) in fields.iter_mut() {
                    let gone = (is_secret && name == "value") || self.is_secret(name);
                    if gone && value.is_string() {
                        *value = GONE.into();
                    } else {
                        self.object(value);
                    }
                }
            }
            _ => {}
        }
    }

    fn is_secret(&self, name: &str) -> bool {
        self.name.is_match(name)
    }
}

#[cfg(test)]
mod tests;
