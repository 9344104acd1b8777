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
    let shown = format!("```rust\n{example}```\n");
    assert!(DOCUMENT.contains(&shown), "rust differs");
    assert!(include_str!("../README.md").contains(&shown), "the README differs");
    assert!(include_str!("../examples/hello.rs").ends_with(&example), "the example differs");
}

#[test]
fn the_example_is_the_plugin_that_a_new_project_begins_with() {
    let code =
        |text: &str| -> String { text.lines().skip_while(|l| !l.starts_with("use")).collect() };
    let template = include_str!("../../templates/rust/src/main.rs");
    let template = template.replace("my-plugin", "checkpoint").replace("MyPlugin", "Checkpoint");
    assert_eq!(code(include_str!("../examples/checkpoint.rs")), code(&template));
}

#[test]
fn the_document_names_every_method() {
    for method in snooze_plugin::wire::Method::ALL {
        assert!(DOCUMENT.contains(&format!("| `{method}` |")), "{method}");
    }
}
