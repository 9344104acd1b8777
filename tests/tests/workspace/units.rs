//! The units of systemd, as systemd itself judges them; nothing is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use snooze_tests::place;
use tempfile::TempDir;

/// A unit, and the most that `systemd-analyze security` may see exposed, in tenths.
const LIMITS: [(&str, u8); 2] = [("snoozed.service", 15), ("cloudsnooze-plugin@.service", 10)];

#[test]
fn i12_a_unit_that_was_loosened_is_found() {
    if !place::has("systemd-analyze") {
        return;
    }
    for (unit, limit) in LIMITS {
        let (fine, told) = security(&folder().join(unit), limit);
        assert!(fine, "{unit} is more open than {limit} tenths:\n{told}");
        let text = fs::read_to_string(folder().join(unit)).unwrap();
        let loose = TempDir::new().unwrap();
        let loosened = loose.path().join(unit);
        fs::write(&loosened, text.replace("\nCapabilityBoundingSet=\n", "\n")).unwrap();
        let (fine, told) = security(&loosened, limit);
        assert!(!fine, "{unit} with every capability is taken for closed:\n{told}");
    }
}

#[test]
fn systemd_understands_every_line_of_the_units_and_of_the_drop_ins_beside_them() {
    if !place::has("systemd-analyze") {
        return;
    }
    verify(None);
    let mut tried = 0;
    for entry in fs::read_dir(folder().join("examples")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        // Its first line: `# /etc/systemd/system/UNIT.d/NAME.conf`.
        let place = text.lines().next().unwrap();
        let place = place.strip_prefix("# /etc/systemd/system/").unwrap();
        let (unit, file) = place.split_once('/').unwrap();
        let unit = if unit.contains('@') { "cloudsnooze-plugin@x.service.d" } else { unit };
        verify(Some((&format!("{unit}/{file}"), &text)));
        tried += 1;
    }
    assert!(tried > 0);
}

/// Lets systemd read copies of the units, whose programs need not be installed, and a drop-in.
fn verify(drop_in: Option<(&str, &str)>) {
    let copy = TempDir::new().unwrap();
    let mut units: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !["service", "socket", "slice"].iter().any(|kind| name.ends_with(&format!(".{kind}"))) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("/usr/bin/snoozed", "/bin/true");
        let text = text.replace("/usr/lib/cloudsnooze/plugin-relay", "/bin/true");
        let unit = copy.path().join(name.replace("@.", "@x."));
        fs::write(copy.path().join(&name), &text).unwrap();
        fs::write(&unit, text).unwrap();
        units.push(unit);
    }
    assert!(units.len() >= 4, "{units:?}");
    if let Some((place, text)) = drop_in {
        let path = copy.path().join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=one"])
        .args(&units)
        .env("SYSTEMD_LOG_LEVEL", "warning")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&verified.stderr);
    let own = told.lines().any(|line| line.contains("snooze"));
    assert!(verified.status.success() && !own, "{drop_in:?}: {told}");
}

#[test]
fn the_daemon_stops_before_what_it_saves_and_comes_back_whatever_happens() {
    let unit = fs::read_to_string(folder().join("snoozed.service")).unwrap();
    let after: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("After="))
        .flat_map(str::split_whitespace)
        .collect();
    for other in ["mariadb", "mysqld", "postgresql", "redis", "docker", "dbus"] {
        assert!(after.contains(&format!("{other}.service").as_str()), "{other}");
    }
    let has = |line: &str| unit.lines().any(|each| each == line);
    for line in [
        "Type=notify",
        "KillMode=mixed",
        "Restart=always",
        "RestartSec=200ms",
        "StartLimitIntervalSec=0",
        "User=cloudsnooze",
        "LimitCORE=0",
    ] {
        assert!(has(line), "{line}");
    }
    let seconds = |key: &str| -> u64 {
        let value = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.unwrap().parse().unwrap()
    };
    let budget = snoozed::settings::check("{}").unwrap().limits.shutdown_budget.as_secs();
    let needed = budget + snoozed::run::SYSTEMD.as_secs();
    assert!(seconds("TimeoutStopSec") > needed, "handlers are cut");
    assert!(seconds("WatchdogSec") <= 10);
}

fn folder() -> PathBuf {
    place::root().join("infra/systemd")
}

fn security(unit: &Path, limit: u8) -> (bool, String) {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", &format!("--threshold={limit}")])
        .arg(unit)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("Overall exposure level"), "{unit:?}: {output:?}");
    (output.status.success(), told)
}
