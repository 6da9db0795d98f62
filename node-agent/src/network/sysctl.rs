//! Kernel settings that pods' packets need, in the network namespace of this process.

use std::fs;
use std::path::Path;

/// Packets go from link to link. Without it no pod reaches anything beyond its node.
pub(super) const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Packets between pods of one node pass the packet rules too, or answers of a service would come
/// from the wrong address. There only where the kernel has that part of bridges.
pub(super) const BRIDGED: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// Turns on what is off, of the settings that the kernel has.
///
/// # Errors
/// What can't be turned on, and why, in words.
pub(super) fn ensure(settings: &[&str]) -> Result<(), String> {
    let there = settings.iter().filter(|path| Path::new(path).exists());
    let troubles: Vec<String> = there.filter_map(|path| turn_on(path).err()).collect();
    match troubles.is_empty() {
        true => Ok(()),
        false => Err(troubles.join("; ")),
    }
}

fn turn_on(path: &str) -> Result<(), String> {
    let is_on = |text: String| text.trim() != "0";
    if fs::read_to_string(path).is_ok_and(is_on) {
        return Ok(());
    }
    fs::write(path, "1").map_err(|error| format!("cannot set {path} to 1: {error}"))?;
    tracing::info!(path, "was off; turned on for pods' packets");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_turned_off_is_turned_on_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let cases = [
            ("off", Some("0\n"), Some("1"), true),
            ("on", Some("1\n"), Some("1\n"), true),
            ("not there", None, None, true),
        ];
        for (case, before, after, done) in cases {
            let path = path(case);
            if let Some(before) = before {
                fs::write(&path, before).unwrap();
            }
            assert_eq!(ensure(&[&path]).is_ok(), done, "{case}");
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), after, "{case}");
        }
        // A directory can be no setting.
        let odd = path("odd");
        fs::create_dir(&odd).unwrap();
        let why = ensure(&[&odd]).unwrap_err();
        assert!(why.starts_with(&format!("cannot set {odd} to 1")), "{why}");
    }
}
