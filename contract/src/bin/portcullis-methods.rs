//! Prints who may call which method of the gateway's API, as `docs/reference/methods.md`. For `cargo xtask generate`.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use portcullis_contract::rules::{Evidence, FOREIGN_METHODS, METHODS, Method, Role, Rule, Scope};

const HEAD: &str = "\
# Who may call which method

A caller that is known has shown a client certificate, a bearer token of the OpenID provider or the edge's token; whatever is
shown must hold. Each piece of evidence has roles, and may be held to scopes: the columns say what one that is held to
scopes needs. One that is not held to any needs the role alone. `admin` may do what `user` may; `portcullis:all` stands for
every scope. Where `certificate` stands, that counts alone: a token permits nothing. Backends are not in this table: each says for itself what it requires (`spec.backends[].auth` and `requires`).

| Method | Nobody | Known, no role | `user` | `admin` | Scope |
|---|---|---|---|---|---|
";

fn main() {
    print!("{HEAD}");
    for method in METHODS.iter().chain(FOREIGN_METHODS) {
        println!("{}", row(method));
    }
}

fn row(method: &Method) -> String {
    let path = method.path.trim_start_matches('/');
    let Some(Rule { evidence, role, scope }) = method.rule else {
        return format!("| `{path}` | – | – | – | – | – |");
    };
    let open = evidence == Evidence::Unauthenticated;
    let yes = if evidence == Evidence::Certificate { "certificate" } else { "yes" };
    let mark = |may: bool| if may { yes } else { "–" };
    let known = |has: Option<Role>| mark(open || (evidence != Evidence::Connector && has >= role));
    let scope = match scope {
        Scope::Any => "none".to_owned(),
        Scope::All => "`portcullis:all`".to_owned(),
        Scope::Named(scope) => format!("`{scope}`"),
    };
    let columns = [mark(open), known(None), known(Some(Role::User)), known(Some(Role::Admin))];
    format!("| `{path}` | {} | {scope} |", columns.join(" | "))
}
