//! What each function is given, held to what it reads.

use std::collections::BTreeSet;

use snooze_functions::settings::{Environment, Faults, read};
use snooze_functions::{dispatch, perform, record};

use super::document::Template;

/// Reads the settings of a function, and says what is wrong with them.
type Reader = fn(&Environment) -> Option<Faults>;

const READERS: [(&str, Reader); 4] = [
    ("Dispatch", |given| read(given, dispatch::Settings::read).err()),
    ("Perform", |given| read(given, perform::settings).err()),
    ("Record", |given| read(given, record::Settings::read).err()),
    ("Sweep", |given| read(given, record::Settings::read).err()),
];

#[test]
fn a_function_is_given_what_it_reads_and_no_more() {
    let template = Template::read();
    for (id, faults) in READERS {
        let functions = template.functions();
        let variables = functions[id]["Environment"]["Variables"].as_object().unwrap();
        let given: BTreeSet<&str> = variables.keys().map(String::as_str).collect();
        // With values that are all wrong, each variable that is read is complained of.
        let wrong = |name: &&str| ((*name).to_owned(), "\u{1}".to_owned());
        let complaints = faults(&given.iter().map(wrong).collect()).map_or(Vec::new(), |all| all.0);
        let names = |texts: &[String]| -> BTreeSet<String> {
            let named = texts.iter().filter_map(|text| text.split('`').nth(1));
            named.map(ToOwned::to_owned).collect()
        };
        let absent = faults(&Environment::new()).map_or(Vec::new(), |all| all.0);
        for missing in names(&absent) {
            assert!(given.contains(missing.as_str()), "{id} reads {missing}, and is not given it");
        }
        let read: BTreeSet<String> = names(&complaints).into_iter().chain(names(&absent)).collect();
        // Any text will do for it, and none, so that nothing is complained of.
        let is_free = |name: &str| (id, name) == ("Perform", "TAG_PREFIX");
        let idle = given.iter().filter(|name| !read.contains(**name) && !is_free(name));
        let idle: Vec<&&str> = idle.collect();
        assert!(idle.is_empty(), "{id} is given {idle:?}, and does not read it");
    }
}
