//! `docs/logs.md` against the texts in the sources.

use std::collections::BTreeSet;
use std::fs;

use snooze_tests::place;

/// A level and a text.
type Line = (String, String);

#[test]
fn every_text_that_is_logged_is_told_of_and_no_other() {
    let page = fs::read_to_string(place::root().join("docs/logs.md")).unwrap();
    let (_, rest) = page.split_once("\n## The daemon\n").unwrap();
    let (daemon, functions) = rest.split_once("\n## The functions\n").unwrap();
    for (page, folder) in [(daemon, "shim/src"), (functions, "functions/src")] {
        let (told, logged) = (told(page), logged(folder));
        let missing: Vec<&Line> = logged.difference(&told).collect();
        assert!(
            missing.is_empty(),
            "docs/logs.md does not tell of these of {folder}: {missing:#?}"
        );
        let gone: Vec<&Line> = told.difference(&logged).collect();
        assert!(gone.is_empty(), "{folder} does not log these of docs/logs.md: {gone:#?}");
    }
}

#[test]
fn the_reader_of_sources_sees_what_is_logged() {
    let source = r#"
        // warn!("a comment")
        error!(name = "no text", %error, "a (torn) \"text\"");
        tracing::info!("ready"); told!(step = step.as_str(), "step started");
        debug!("not for people"); println!("nor this");
        #[cfg(test)]
        mod tests { warn!("nor a test"); }
    "#;
    let lines = [("error", r#"a (torn) "text""#), ("info", "ready"), ("info", "step started")];
    let lines: Vec<Line> = lines.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    assert_eq!(of_source(source), lines);
}

fn told(page: &str) -> BTreeSet<Line> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (level, text) = (cells.next()?, cells.next()?);
        let text = text.strip_prefix('`')?.strip_suffix('`')?;
        let rest: Vec<&str> = cells.collect();
        assert_eq!(rest.len(), 2, "a meaning and what to do: {line}");
        Some((level.to_owned(), text.to_owned()))
    };
    page.lines().filter_map(row).collect()
}

/// What a page can show between backticks: without those of the text.
fn logged(folder: &str) -> BTreeSet<Line> {
    let folder = place::root().join(folder);
    let sources = place::files("rs").into_iter().filter(|path| path.starts_with(&folder));
    let sources = sources.filter(|path| !path.ends_with("tests.rs"));
    let lines = sources.flat_map(|path| of_source(&fs::read_to_string(path).unwrap()));
    lines.map(|(level, text)| (level, text.replace('`', ""))).collect()
}

/// The levels and texts of the macros in a source, those of its tests left out.
fn of_source(source: &str) -> Vec<Line> {
    // The changes of an incident's state are told by a macro of their own, at `info`.
    const MACROS: [(&str, &str); 4] =
        [("error!(", "error"), ("warn!(", "warn"), ("info!(", "info"), ("told!(", "info")];
    let mut lines = Vec::new();
    let code = source.split("mod tests {").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim().starts_with("//")).collect();
    let code = code.join("\n");
    let mut found: Vec<(usize, &str)> = MACROS
        .iter()
        .flat_map(|(name, level)| code.match_indices(name).map(move |(at, _)| (at, *level)))
        .collect();
    found.sort_unstable();
    for (at, level) in found {
        let body = code.get(at..).unwrap_or_default();
        if let Some(text) = last_text(body) {
            lines.push((level.to_owned(), text));
        }
    }
    lines
}

/// The last string of a call that begins here.
fn last_text(code: &str) -> Option<String> {
    let (mut depth, mut text, mut last, mut escaped) = (0, None::<String>, None, false);
    for c in code.chars() {
        match (&mut text, c) {
            (Some(text), c) if escaped => {
                text.push(c);
                escaped = false;
            }
            (Some(_), '\\') => escaped = true,
            (Some(_), '"') => last = text.take(),
            (Some(text), c) => text.push(c),
            (None, '"') => text = Some(String::new()),
            (None, '(' | '{' | '[') => depth += 1,
            (None, ')' | '}' | ']') => {
                depth -= 1;
                if depth == 0 {
                    return last;
                }
            }
            (None, _) => {}
        }
    }
    None
}
