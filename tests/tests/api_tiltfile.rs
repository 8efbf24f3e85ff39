//! The Tiltfile, evaluated with stand-ins for what Tilt brings: it knows no function and no argument that Tilt has not, and
//! names no file, command or object that is not there.

use std::path::{Path, PathBuf};

use portcullis_tests::chart::objects;
use portcullis_tests::door::{fed, run, text, tool};
use serde_json::Value;
use tokio::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The calls that it makes with a context and flags: functions with their arguments.
async fn calls(context: &str, flags: &[&str]) -> Vec<(String, Value)> {
    let printed = run(tool("tilt").arg(root().join("Tiltfile")).arg(context).args(flags), None).await;
    let calls = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    calls.map(|call| (call["function"].as_str().unwrap().to_owned(), call["arguments"].clone())).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().map_or_else(Vec::new, |list| list.iter().map(|it| it.as_str().unwrap()).collect())
}

#[tokio::test]
async fn it_names_only_what_is_there() {
    let cases: [(&str, &[&str], bool); 4] = [
        ("portcullis", &[], true),
        ("kind-kind", &[], false),
        ("prod", &[], false),
        ("prod", &["--registry", "registry.example/team"], true),
    ];
    for (context, flags, allowed) in cases {
        let calls = calls(context, flags).await;
        let of = |function: &str| {
            let function = function.to_owned();
            calls.iter().filter(move |it| it.0 == function).map(|it| &it.1)
        };
        let contexts: Vec<_> = of("allow_k8s_contexts").flat_map(|it| texts(&it["contexts"])).collect();
        assert_eq!(contexts.contains(&context), allowed, "{context} {flags:?}: {contexts:?}");

        let mut applied = Vec::new();
        for file in of("k8s_yaml").map(|it| it["yaml"].as_str().unwrap()) {
            applied.extend(objects(&std::fs::read_to_string(root().join(file)).unwrap()));
        }
        let named =
            |it: &Value| format!("{}:{}:{}", it["metadata"]["name"], it["kind"], it["metadata"]["namespace"]);
        let applied: Vec<_> = applied.iter().map(|it| named(it).replace('"', "")).collect();
        for object in of("k8s_resource").flat_map(|it| texts(&it["objects"])) {
            assert!(applied.iter().any(|it| it.starts_with(object)), "{object} is not among {applied:?}");
        }
        let mut resources: Vec<_> = of("k8s_custom_deploy").map(|it| it["name"].as_str().unwrap()).collect();
        resources.extend(of("k8s_resource").filter_map(|it| it["new_name"].as_str()));
        resources.extend(applied.iter().filter_map(|it| it.split_once(":Deployment:")).map(|it| it.0));
        for resource in of("k8s_resource") {
            let workload = resource["workload"].as_str().into_iter();
            for needed in workload.chain(texts(&resource["resource_deps"])) {
                assert!(resources.contains(&needed), "{needed} is not among {resources:?}");
            }
        }
        let deployed: Vec<_> = of("k8s_custom_deploy").collect();
        for path in deployed.iter().flat_map(|it| texts(&it["deps"])) {
            assert!(root().join(path).exists(), "{path} is not there");
        }
        let command = deployed[0]["apply_cmd"].as_str().unwrap();
        let (install, _) = command.strip_prefix("cargo ").unwrap().split_once(" >&2").unwrap();
        assert_eq!(install.contains("--context prod"), context == "prod", "{install}");
        // It looks at all that stands before it, and does nothing.
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(root()).args(install.split(' ')).arg("--help");
        let output = fed(&mut cargo, None).await;
        assert!(output.status.success(), "{install}: {}", text(&output.stderr));
    }
}

#[tokio::test]
async fn what_tilt_does_not_know_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Tiltfile");
    for (wrong, said) in [
        ("k8s_yml('a.yaml')", "undefined: k8s_yml"),
        ("k8s_yaml('a.yaml', dups=True)", "k8s_yaml has no argument \"dups\""),
        ("config.parse()['registry']", "key \"registry\" not in dict"),
    ] {
        std::fs::write(&file, wrong).unwrap();
        let output = fed(tool("tilt").arg(&file).arg("portcullis"), None).await;
        assert!(!output.status.success() && text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}
