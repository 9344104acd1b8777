//! What the document shows is what is tested.

const DOCUMENT: &str = include_str!("../../../docs/plugins.md");

#[test]
fn the_document_shows_the_examples_as_they_are() {
    let shell = include_str!("../../examples/hello.sh");
    let python = include_str!("../../examples/checkpoint.py");
    for (language, text) in [("sh", shell), ("python", python)] {
        assert!(DOCUMENT.contains(&format!("```{language}\n{text}```\n")), "{language} differs");
    }
}

#[test]
fn the_document_shows_the_rust_example_that_is_compiled() {
    let library = include_str!("../src/lib.rs");
    let lines = library.lines().skip_while(|line| !line.starts_with("//! ```no_run")).skip(1);
    let example: String = lines
        .take_while(|line| *line != "//! ```")
        .map(|line| line.trim_start_matches("//!").strip_prefix(' ').unwrap_or_default())
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(example.contains("serve(Hello)"));
    assert!(DOCUMENT.contains(&format!("```rust\n{example}```\n")), "rust differs");
}

#[test]
fn the_document_names_every_method() {
    for method in snooze_plugin::wire::Method::ALL {
        assert!(DOCUMENT.contains(&format!("| `{method}` |")), "{method}");
    }
}
