//! The documents for whoever deploys and watches the stack, held to the template.

use std::fs;

use snooze_tests::place;

use super::document::{Template, text};

#[test]
fn every_alarm_has_its_section_and_every_section_its_alarm() {
    let operations = document("operations.md");
    let template = Template::read();
    let mut names: Vec<String> = template
        .of_type("AWS::CloudWatch::Alarm")
        .iter()
        .map(|(_, alarm)| text(&alarm["Properties"]["AlarmName"]).replace("${AWS::StackName}-", ""))
        .collect();
    names.sort();
    let (_, alarms) = operations.split_once("\n## Alarms\n").expect("there is a part on alarms");
    let (alarms, _) = alarms.split_once("\n## ").expect("something follows");
    let mut sections: Vec<String> = alarms
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .flat_map(|heading| heading.split('`').skip(1).step_by(2))
        .map(ToOwned::to_owned)
        .collect();
    sections.sort();
    assert_eq!(sections, names);
}

#[test]
fn every_parameter_is_told_of() {
    let deploy = document("deploy.md");
    for name in Template::read().section("Parameters").keys() {
        assert!(deploy.contains(&format!("`{name}`")), "docs/deploy.md does not tell of {name}");
    }
}

#[test]
fn every_role_of_a_function_is_told_of() {
    let operations = document("operations.md");
    for function in Template::read().functions().keys() {
        let row = format!("| `{}` |", function.to_lowercase());
        assert!(operations.contains(&row), "docs/operations.md has no row `{row}`");
    }
}

fn document(name: &str) -> String {
    fs::read_to_string(place::root().join("docs").join(name)).unwrap()
}
