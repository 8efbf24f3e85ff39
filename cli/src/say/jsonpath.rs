//! Parts of a JSON document by a template, as kubectl writes them: `{.items[*].name}`, texts between braces kept, several
//! values separated by a blank.

use jsonpath_rust::JsonPath as _;
use serde_json::Value;

/// Fills a template. It ends with a line break.
pub(super) fn fill(template: &str, value: &Value) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    if !template.contains('{') {
        out.push_str(&found(template, value)?);
        rest = "";
    }
    while let Some(begin) = rest.find('{') {
        out.push_str(&rest[..begin]);
        let inside = &rest[begin + 1..];
        let end = end(inside).ok_or("a brace is not closed")?;
        out.push_str(&found(&inside[..end], value)?);
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    Ok(out)
}

/// Where the closing brace is, outside of quotes.
fn end(inside: &str) -> Option<usize> {
    let mut quote = None;
    inside.char_indices().find_map(|(at, it)| {
        match (quote, it) {
            (None, '\'' | '"') => quote = Some(it),
            (Some(open), _) if open == it => quote = None,
            (None, '}') => return Some(at),
            _ => {}
        }
        None
    })
}

fn found(path: &str, value: &Value) -> Result<String, String> {
    let path = path.trim();
    // `{"\n"}` is a text.
    if path.starts_with('"') {
        return serde_json::from_str::<String>(path).map_err(|error| error.to_string());
    }
    if path.starts_with("range ") || path == "end" {
        return Err("`range` is not known here: write `-o json` and use another tool for loops".to_owned());
    }
    let rooted = match path.chars().next() {
        Some('$') => path.to_owned(),
        Some('.' | '[') => format!("${path}"),
        _ => format!("$.{path}"),
    };
    let rooted = if rooted == "$." { "$".to_owned() } else { rooted };
    let values = value.query(&rooted).map_err(|error| error.to_string())?;
    Ok(values.into_iter().map(text).collect::<Vec<_>>().join(" "))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_filled_as_kubectl_does() {
        let value =
            json!({ "items": [{ "name": "a", "n": 1 }, { "name": "b", "n": 2 }], "x-y": { "z": true } });
        for (template, wanted) in [
            ("{.items[*].name}", "a b\n"),
            (".items[0].name", "a\n"),
            ("$.items[1].n", "2\n"),
            ("{.items[?(@.n==2)].name}", "b\n"),
            ("first {.items[0].name}, then {.items[1].name}{\"\\n\"}", "first a, then b\n"),
            ("{['x-y'].z}", "true\n"),
            ("{.nothing}", "\n"),
            ("{.items[0]}", "{\"n\":1,\"name\":\"a\"}\n"),
        ] {
            assert_eq!(fill(template, &value).as_deref(), Ok(wanted), "{template}");
        }
        for bad in ["{.items", "{.items[}", "{range .items[*]}{.name}{end}"] {
            assert!(fill(bad, &value).is_err(), "{bad}");
        }
    }
}
