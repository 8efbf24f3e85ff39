//! A wrong value of each kind for every value of the chart: for each thing that the schema asks, one that does not keep to
//! it, and what both Helms say of that. Texts that must look a certain way, and values that do not fit together, are in
//! api_chart.txt.

use portcullis_tests::chart::{HELMS, folder};
use portcullis_tests::door::text;
use serde_json::{Value, json};

/// A value that is wrong, where it is, and how what is said of it begins.
#[derive(Debug)]
struct Wrong {
    path: Vec<String>,
    value: Value,
    said: String,
}

/// Keywords that hold nothing back by themselves.
const PLAIN: [&str; 5] = ["$ref", "$schema", "$defs", "title", "description"];

/// Every constraint of the schema, broken.
fn wrongs(schema: &Value, root: &Value, path: &[String], into: &mut Vec<Wrong>) {
    if let Some(reference) = schema["$ref"].as_str() {
        wrongs(root.pointer(reference.trim_start_matches('#')).unwrap(), root, path, into);
    }
    let at = format!("at '{}{}': ", if path.is_empty() { "" } else { "/" }, path.join("/"));
    let mut add = |more: Option<&str>, value: Value, said: &str| {
        let path = path.iter().cloned().chain(more.map(str::to_owned)).collect();
        into.push(Wrong { path, value, said: format!("{at}{said}") });
    };
    for (keyword, asked) in schema.as_object().unwrap() {
        match keyword.as_str() {
            // Values as a whole cannot be anything else on Helm's command line.
            "type" if path.is_empty() => {}
            "type" if asked.to_string().contains("array") => {
                add(None, json!({ "a": 1 }), "got object, want ");
            }
            "type" => add(None, json!([1]), "got array, want "),
            "enum" => add(None, json!("of no such kind"), "value must be one of "),
            "minimum" => add(None, json!(asked.as_i64().unwrap() - 1), "minimum: got "),
            "maximum" => add(None, json!(asked.as_i64().unwrap() + 1), "maximum: got "),
            "minItems" => add(None, json!([]), "minItems: got 0, want "),
            "uniqueItems" => {
                let item = schema["items"]["enum"][0].as_str().unwrap_or("same");
                add(None, json!([item, item]), "items at 0 and 1 are equal");
            }
            "required" => {
                for name in asked.as_array().unwrap() {
                    let name = name.as_str().unwrap();
                    add(Some(name), Value::Null, "missing propert");
                }
            }
            "additionalProperties" if *asked == json!(false) => {
                add(Some("unheardOf"), json!(1), "additional properties 'unheardOf' not allowed");
            }
            "additionalProperties" | "items" | "properties" => {}
            other => assert!(PLAIN.contains(&other), "nothing is known of {other} at {path:?}"),
        }
    }
    let mut below = |name: &str, schema: &Value| {
        if schema.is_object() {
            let path: Vec<_> = path.iter().cloned().chain([name.to_owned()]).collect();
            wrongs(schema, root, &path, into);
        }
    };
    below("anything", &schema["additionalProperties"]);
    below("0", &schema["items"]);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        below(name, property);
    }
}

/// Whether both can stand in the same values: neither is part of the other, and no list loses an item.
fn apart(one: &Wrong, other: &Wrong) -> bool {
    !one.path.starts_with(&other.path) && !other.path.starts_with(&one.path)
}

/// Puts it there, with what leads to it. Null takes a default away, and has nothing to take from an item of a list.
fn put(values: &mut Value, path: &[String], value: &Value) {
    let Some((first, rest)) = path.split_first() else {
        *values = value.clone();
        return;
    };
    if first == "0" {
        if !values.is_array() {
            *values = json!([{}]);
        }
        if !(rest.len() == 1 && value.is_null()) {
            put(&mut values[0], rest, value);
        }
    } else {
        if !values.is_object() {
            *values = json!({});
        }
        put(&mut values[first], rest, value);
    }
}

#[tokio::test]
async fn whatever_the_schema_asks_is_refused_by_its_path_where_it_is_not_kept() {
    let schema = std::fs::read_to_string(folder().join("values.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut all = Vec::new();
    wrongs(&schema, &schema, &[], &mut all);
    assert!(all.len() > 200, "{}", all.len());
    // Helm says all that is wrong at once: as many as can stand side by side are tried together.
    let mut rounds: Vec<Vec<Wrong>> = Vec::new();
    for wrong in all {
        match rounds.iter_mut().find(|round| round.iter().all(|other| apart(&wrong, other))) {
            Some(round) => round.push(wrong),
            None => rounds.push(vec![wrong]),
        }
    }
    let mut unsaid = Vec::new();
    for round in &rounds {
        let mut values = json!({});
        for wrong in round {
            put(&mut values, &wrong.path, &wrong.value);
        }
        for helm in HELMS {
            let output =
                helm.run("portcullis-system", &["template", "portcullis"], &values.to_string()).await;
            assert!(!output.status.success(), "{helm:?} takes {values}");
            let said = text(&output.stderr);
            let missing = |wrong: &&Wrong| {
                !said.lines().any(|line| {
                    let of_it = line.trim_start_matches(['-', ' ']).starts_with(&wrong.said);
                    let named = || line.contains(&format!("'{}'", wrong.path.last().unwrap()));
                    of_it && (!wrong.value.is_null() || named())
                })
            };
            unsaid.extend(round.iter().filter(missing).map(|it| format!("{helm:?}: {it:?}\n{said}")));
        }
    }
    assert!(unsaid.is_empty(), "{} of {} rounds:\n{}", unsaid.len(), rounds.len(), unsaid.join("\n"));
}
