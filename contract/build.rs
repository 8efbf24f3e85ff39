//! Generates the Rust code of `proto/` without `protoc`, and the table of who may call which method.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use protox::prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, Value};

const ROOT: &str = "../proto";
const OURS: [&str; 8] = [
    "portcullis/gateway/v1/gateway.proto",
    "portcullis/gateway/v1/identities.proto",
    "portcullis/gateway/v1/projects.proto",
    "portcullis/gateway/v1/tunnels.proto",
    "portcullis/gateway/v1/credentials.proto",
    "portcullis/gateway/v1/sandboxes.proto",
    "portcullis/tunnel/v1/tunnel.proto",
    "portcullis/peer/v1/peer.proto",
];
/// They speak in the gateway's own messages.
const WITHIN: [&str; 3] = [
    "portcullis/control/v1/control.proto",
    "portcullis/driver/compute/v1/compute.proto",
    "portcullis/driver/credentials/v1/credentials.proto",
];
const API: &str = "portcullis.gateway.v1";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_imports(true).open_files(OURS)?;
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    write_rules(&compiler.descriptor_pool(), &out.join("rules.rs"))?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    // Apart, since it writes an empty shell of the API's package too.
    let within = out.join("within");
    std::fs::create_dir_all(&within)?;
    tonic_prost_build::configure()
        .out_dir(within)
        .extern_path(format!(".{API}"), "crate::gateway")
        .compile_fds(protox::compile(WITHIN, [ROOT])?)?;
    Ok(())
}

/// Writes the table that `src/rules.rs` includes: every method of the API with its rule.
fn write_rules(pool: &DescriptorPool, path: &Path) -> Result<(), Box<dyn Error>> {
    let rule =
        pool.get_extension_by_name(&format!("{API}.rule")).ok_or("the option `rule` is not defined")?;
    let mut table = String::from("&[\n");
    for service in pool.services().filter(|service| service.package_name() == API) {
        for method in service.methods() {
            let options = method.options();
            let written = if options.has_extension(&rule) {
                match options.get_extension(&rule).as_message() {
                    Some(rule) => format!("Some({})", rule_text(rule)?),
                    None => return Err("the option `rule` is no message".into()),
                }
            } else {
                "None".to_owned()
            };
            let path = format!("/{}/{}", service.full_name(), method.name());
            writeln!(table, "    Method {{ path: {path:?}, rule: {written} }},")?;
        }
    }
    table.push_str("]\n");
    Ok(std::fs::write(path, table)?)
}

fn rule_text(written: &DynamicMessage) -> Result<String, Box<dyn Error>> {
    let evidence = match name(written, "evidence")?.as_str() {
        "EVIDENCE_UNAUTHENTICATED" => "Unauthenticated",
        "EVIDENCE_BEARER" => "Bearer",
        "EVIDENCE_CONNECTOR" => "Connector",
        "EVIDENCE_DUAL" => "Dual",
        "EVIDENCE_CERTIFICATE" => "Certificate",
        other => return Err(format!("a rule needs evidence, not {other}").into()),
    };
    let role = match name(written, "role")?.as_str() {
        "ROLE_USER" => "Some(Role::User)",
        "ROLE_ADMIN" => "Some(Role::Admin)",
        _ => "None",
    };
    let scope = field(written, "scope")?.as_str().unwrap_or_default().to_owned();
    let any = field(written, "any_scope")?.as_bool().unwrap_or_default();
    let scope = match (any, scope.as_str()) {
        (true, "") => "Scope::Any".to_owned(),
        (true, scope) => return Err(format!("a rule has both any_scope and the scope {scope}").into()),
        (false, "") => "Scope::All".to_owned(),
        (false, scope) => format!("Scope::Named({scope:?})"),
    };
    Ok(format!("Rule {{ evidence: Evidence::{evidence}, role: {role}, scope: {scope} }}"))
}

fn field(message: &DynamicMessage, name: &str) -> Result<Value, Box<dyn Error>> {
    let value = message.get_field_by_name(name).ok_or_else(|| format!("a rule without the field {name}"))?;
    Ok(value.into_owned())
}

/// The name of an enum's value.
fn name(message: &DynamicMessage, field_name: &str) -> Result<String, Box<dyn Error>> {
    let descriptor = message.descriptor();
    let kind = descriptor.get_field_by_name(field_name).map(|field| field.kind());
    let kind = kind.ok_or_else(|| format!("a rule without the field {field_name}"))?;
    let number = field(message, field_name)?.as_enum_number().unwrap_or_default();
    let value = kind.as_enum().and_then(|kind| kind.get_value(number));
    Ok(value.map(|value| value.name().to_owned()).unwrap_or_default())
}
