//! What happens to the configuration when the disk, or somebody else, is in the way.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Stdio;

use crate::home::{Home, Told, read};

const SHOP: &str = r#"{"endpoint":"https://shop.example","mode":"MutualTLS","later":{"kept":true}}"#;

#[test]
fn many_commands_at_once_lose_nothing() {
    let home = Home::new();
    for at in 0..8 {
        home.stored(&format!("g{at}"), SHOP);
    }
    let children: Vec<_> = (0..8)
        .map(|at| {
            let name = format!("g{at}");
            let arguments: Vec<&str> =
                if at < 4 { vec!["gateway", "remove", &name] } else { vec!["gateway", "select", &name] };
            home.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let told = Told::of(&child.wait_with_output().unwrap());
        assert_eq!(told.code, Some(0), "{told:?}");
    }
    assert_eq!(home.well(&["gateway", "list", "-o", "name"]).out, "g4\ng5\ng6\ng7\n");
    let active = read(&home.config("active_gateway"));
    assert!(["g4\n", "g5\n", "g6\n", "g7\n"].contains(&active.as_str()), "{active:?}");
}

#[test]
fn a_command_waits_for_one_that_holds_the_lock_and_one_that_reads_does_not() {
    let home = Home::new();
    home.stored("shop", SHOP);
    let lock = fs::File::create(home.config("lock")).unwrap();
    lock.lock().unwrap();
    assert!(home.well(&["gateway", "list"]).out.contains("shop"));
    let mut waiting = home.command(&["gateway", "select", "shop"]).stderr(Stdio::null()).spawn().unwrap();
    // As long as a command that does not wait takes, and more.
    home.well(&["gateway", "list"]);
    assert!(waiting.try_wait().unwrap().is_none() && !home.config("active_gateway").exists());
    lock.unlock().unwrap();
    assert!(waiting.wait().unwrap().success());
    assert_eq!(read(&home.config("active_gateway")), "shop\n");
}

#[test]
fn a_file_that_was_cut_short_is_named_and_the_others_are_listed() {
    let home = Home::new();
    home.stored("shop", SHOP);
    home.stored("cut", "{\"endpoint\":\"https://cu");
    let told = home.well(&["gateway", "list"]);
    assert!(told.out.contains("https://shop.example") && told.out.contains("cannot be read"), "{}", told.out);
    assert!(
        told.err.contains("gateways/cut/metadata.json") && told.err.contains("cut short"),
        "{}",
        told.err
    );
    let told = home.run(&["gateway", "info", "-g", "cut"]);
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("cut short") && told.err.contains("gateway remove cut"), "{}", told.err);
    home.well(&["gateway", "info", "-g", "shop"]);
    home.well(&["gateway", "remove", "cut"]);
    assert!(!home.config("gateways/cut").exists());
}

#[test]
fn a_symbolic_link_is_refused_and_what_it_points_to_stays() {
    let home = Home::new();
    home.stored("shop", SHOP);
    let theirs = home.put("theirs", "untouched");
    symlink(&theirs, home.config("active_gateway")).unwrap();
    let told = home.run(&["gateway", "select", "shop"]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.err.contains("refused to follow the symbolic link") && told.err.contains("active_gateway"),
        "{}",
        told.err
    );
    assert_eq!(read(&theirs), "untouched");

    let other = Home::new();
    other.put("elsewhere/gateways/shop/metadata.json", SHOP);
    fs::create_dir_all(other.path("config")).unwrap();
    symlink(other.path("elsewhere"), other.config("")).unwrap();
    let told = other.run(&["gateway", "list"]);
    assert!(told.code == Some(1) && told.err.contains("refused to follow the symbolic link"), "{told:?}");
}

#[test]
fn a_home_that_may_not_be_written_is_read_and_said() {
    let home = Home::new();
    home.stored("shop", SHOP);
    home.put("config/portcullis/active_gateway", "shop\n");
    // Modes do not hold root, and the tests may run as root: the one file that every change begins with is a folder.
    fs::create_dir(home.config("lock")).unwrap();
    home.well(&["gateway", "info"]);
    let told = home.run(&["gateway", "select", "shop"]);
    assert!(told.code == Some(1) && told.err.contains("lock") && told.err.contains("not a file"), "{told:?}");

    let nowhere = Home::new();
    nowhere.put("config", "a file, where the folder would be");
    let told = nowhere.run(&["gateway", "import", nowhere.path("").to_str().unwrap()]);
    assert_eq!(told.code, Some(3), "{told:?}");
    let mut command = nowhere.command(&["gateway", "list"]);
    command.env_remove("XDG_CONFIG_HOME").env("HOME", "relative");
    let told = Told::of(&command.output().unwrap());
    assert_eq!(told.code, Some(0), "without a home there is nothing to list: {told:?}");
}

#[test]
fn what_is_stored_is_for_its_owner_alone() {
    let home = Home::new();
    home.stored("shop", SHOP);
    home.well(&["gateway", "select", "shop"]);
    let mode = |inside: &str| fs::metadata(home.config(inside)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("active_gateway"), mode("lock")), (0o600, 0o600));
}

/// Runs a script in a mount namespace of its own, where it may mount what it likes (util-linux `unshare`).
fn among_mounts(home: &Home, script: &str) -> Told {
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--map-root-user", "--mount", "sh", "-ec", script]).env_clear();
    unshare.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", home.path(""));
    unshare.env("XDG_CONFIG_HOME", home.path("config")).env("PORTCULLIS", env!("CARGO_BIN_EXE_portcullis"));
    Told::of(&unshare.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn on_a_full_disk_nothing_is_lost_and_that_is_said() {
    let home = Home::new();
    fs::create_dir_all(home.path("config")).unwrap();
    let script = r#"
        mount -t tmpfs -o size=64k none "$HOME/config"
        for name in shop lab; do
            mkdir -p "$HOME/config/portcullis/gateways/$name"
            echo '{"endpoint":"https://shop.example"}' > "$HOME/config/portcullis/gateways/$name/metadata.json"
        done
        "$PORTCULLIS" gateway select lab
        head -c 1M /dev/zero > "$HOME/config/filler" 2>/dev/null || true
        "$PORTCULLIS" gateway select shop || echo "ended with $?"
        cat "$HOME/config/portcullis/active_gateway"
        "$PORTCULLIS" gateway list -o name
        ls -A "$HOME/config/portcullis"
    "#;
    let told = among_mounts(&home, script);
    assert_eq!(told.out, "ended with 1\nlab\nlab\nshop\nactive_gateway\ngateways\nlock\n", "{told:?}");
    assert!(told.err.contains("the disk is full, and what was there before is unchanged"), "{}", told.err);
}

#[test]
fn on_a_disk_that_is_only_read_everything_that_reads_goes_on() {
    let home = Home::new();
    home.stored("shop", SHOP);
    home.put("config/portcullis/active_gateway", "shop\n");
    let script = r#"
        mount --bind "$HOME/config" "$HOME/config"
        mount -o remount,bind,ro "$HOME/config"
        "$PORTCULLIS" gateway info -o name
        "$PORTCULLIS" gateway select shop || echo "ended with $?"
        "$PORTCULLIS" gateway remove shop || echo "ended with $?"
        "$PORTCULLIS" gateway list -o name
    "#;
    let told = among_mounts(&home, script);
    assert_eq!(told.out, "shop\nended with 1\nended with 1\nshop\n", "{told:?}");
    assert!(
        told.err.contains("nothing may be written there") && told.err.contains("XDG_CONFIG_HOME"),
        "{}",
        told.err
    );
}
