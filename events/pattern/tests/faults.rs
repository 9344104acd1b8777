//! What is said of patterns that are none.

#![expect(clippy::unwrap_used, reason = "the helpers below are part of the tests")]

use expect_test::{Expect, expect};
use snooze_pattern::Pattern;

#[test]
fn structure_faults_name_the_place_and_what_was_expected() {
    check(
        &[
            "{}",
            "[]",
            r#"{"detail": {"state": {}}}"#,
            r#"{"detail": {"state": []}}"#,
            r#"{"detail": {"state": "running"}}"#,
            r#"{"detail": {"state": ["running", ["stopped"]]}}"#,
            r#"{"detail": {"state": ["running", {}]}}"#,
            r#"{"detail": {"state": [{"prefix": "a", "suffix": "b"}]}}"#,
            r#"{"detail": {"state": [{"regex": "a"}]}}"#,
        ],
        expect![[r#"
            the pattern: expected at least one field, found {}
            the pattern: expected a JSON object, found []
            `detail.state`: expected at least one field, found {}
            `detail.state`: expected at least one value, found []
            `detail.state`: expected an array of values, or an object of fields, found "running"
            `detail.state[1]`: expected a string, a number, true, false, null or an operator, found an array
            `detail.state[1]`: expected one of the operators `prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`, `cidr` and `exists`, found {}
            `detail.state[0]`: expected one of the operators `prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`, `cidr` and `exists`, found `prefix` and `suffix`
            `detail.state[0].regex`: expected one of the operators `prefix`, `suffix`, `equals-ignore-case`, `wildcard`, `anything-but`, `numeric`, `cidr` and `exists`, found `regex`
        "#]],
    );
}

#[test]
fn operand_faults_name_the_place_and_what_was_expected() {
    check(
        &[
            r#"{"a": ["x", {"prefix": 1}]}"#,
            r#"{"a": [{"suffix": {"wildcard": "x"}}]}"#,
            r#"{"a": [{"prefix": {"equals-ignore-case": ["x"]}}]}"#,
            r#"{"a": [{"equals-ignore-case": ["x"]}]}"#,
            r#"{"a": [{"wildcard": "a**b"}]}"#,
            r#"{"a": [{"wildcard": "a\\b"}]}"#,
            r#"{"a": [{"exists": "yes"}]}"#,
            r#"{"a": [{"cidr": "10.0.0.0/33"}]}"#,
            r#"{"a": [{"cidr": "10.0.0.1/32"}]}"#,
            r#"{"a": [{"numeric": []}]}"#,
            r#"{"a": [{"numeric": ["=="]}]}"#,
            r#"{"a": [{"numeric": ["==", 1]}]}"#,
            r#"{"a": [{"numeric": [">", "5"]}]}"#,
            r#"{"a": [{"numeric": ["=", 5, "<", 9]}]}"#,
            r#"{"a": [{"numeric": [">", 5, ">", 9]}]}"#,
            r#"{"a": [{"numeric": [">=", 5, "<=", 5.0]}]}"#,
        ],
        expect![[r#"
            `a[1].prefix`: expected a string or `{"equals-ignore-case": string}`, found 1
            `a[0].suffix.wildcard`: expected `equals-ignore-case`, found `wildcard`
            `a[0].prefix.equals-ignore-case`: expected a string, found an array
            `a[0].equals-ignore-case`: expected a string, found an array
            `a[0].wildcard`: expected no two stars in a row, found "a**b"
            `a[0].wildcard`: expected a backslash only before `*` or `\`, found "a\\b"
            `a[0].exists`: expected true or false, found "yes"
            `a[0].cidr`: expected a network such as `10.0.0.0/8` or `2001:db8::/32`, of more than one address, found "10.0.0.0/33"
            `a[0].cidr`: expected a network such as `10.0.0.0/8` or `2001:db8::/32`, of more than one address, found "10.0.0.1/32"
            `a[0].numeric`: expected one comparison such as `[">", 0]`, or two such as `[">", 0, "<=", 5]`, found 0 items
            `a[0].numeric`: expected one comparison such as `[">", 0]`, or two such as `[">", 0, "<=", 5]`, found 1 items
            `a[0].numeric[0]`: expected one of `=`, `<`, `<=`, `>` and `>=`, found "=="
            `a[0].numeric[1]`: expected a number, found "5"
            `a[0].numeric[0]`: expected `>` or `>=`, with `<` or `<=` to follow, found "="
            `a[0].numeric[2]`: expected `<` or `<=`, found ">"
            `a[0].numeric[3]`: expected a number greater than 5, found 5.0
        "#]],
    );
}

#[test]
fn anything_but_faults_name_the_place_and_what_was_expected() {
    check(
        &[
            r#"{"a": [{"anything-but": null}]}"#,
            r#"{"a": [{"anything-but": []}]}"#,
            r#"{"a": [{"anything-but": ["x", 1]}]}"#,
            r#"{"a": [{"anything-but": [1, "x"]}]}"#,
            r#"{"a": [{"anything-but": [true]}]}"#,
            r#"{"a": [{"anything-but": {"prefix": ""}}]}"#,
            r#"{"a": [{"anything-but": {"suffix": ["x", ""]}}]}"#,
            r#"{"a": [{"anything-but": {"wildcard": []}}]}"#,
            r#"{"a": [{"anything-but": {"equals-ignore-case": 1}}]}"#,
            r#"{"a": [{"anything-but": {"numeric": [">", 1]}}]}"#,
        ],
        expect![[r#"
            `a[0].anything-but`: expected a string, a number, a list of them, or an operator, found null
            `a[0].anything-but`: expected at least one value, found []
            `a[0].anything-but[1]`: expected a string, like the first of the list, found 1
            `a[0].anything-but[1]`: expected a number, like the first of the list, found "x"
            `a[0].anything-but[0]`: expected a string or a number, found true
            `a[0].anything-but.prefix`: expected a string that is not empty, found ""
            `a[0].anything-but.suffix[1]`: expected a string that is not empty, found ""
            `a[0].anything-but.wildcard`: expected a string or a list of strings, found []
            `a[0].anything-but.equals-ignore-case`: expected a string or a list of strings, found 1
            `a[0].anything-but.numeric`: expected one of `prefix`, `suffix`, `equals-ignore-case` and `wildcard`, found `numeric`
        "#]],
    );
}

#[test]
fn or_faults_name_the_place_and_what_was_expected() {
    let bits = |count: usize| {
        let or: Vec<String> = (0..count)
            .map(|bit| format!(r#""f{bit}": {{"$or": [{{"a": [0]}}, {{"b": [1]}}]}}"#))
            .collect();
        format!("{{{}}}", or.join(","))
    };
    assert!(Pattern::compile(&bits(9)).is_ok());
    check(
        &[
            r#"{"$or": {"a": [1]}}"#,
            r#"{"$or": []}"#,
            r#"{"$or": [{"a": [1]}]}"#,
            r#"{"$or": [{"a": [1]}, {}]}"#,
            r#"{"$or": [{"a": [1]}, ["b"]]}"#,
            r#"{"d": {"$or": [{"a": [1]}, {"b": {"prefix": ["x"]}}]}}"#,
            &bits(10),
        ],
        expect![[r#"
            `$or`: expected an array of objects, found an object
            `$or`: expected two objects or more, found none
            `$or`: expected two objects or more, found one
            `$or[1]`: expected at least one field, found {}
            `$or[1]`: expected an object, found an array
            `d.$or[1].b.prefix`: expected a field that is not named like an operator, found `prefix`
            `f9.$or`: expected at most 1000 alternatives in all, found more
        "#]],
    );
}

#[test]
fn texts_that_are_not_json_are_refused_with_line_and_column() {
    check(
        &[
            "",
            "{\"a\": [1],\n \"é\": [1,]}",
            r#"{"a": [1]} x"#,
            r#"{"a": [01]}"#,
            r#"{"a": [1.]}"#,
            r#"{'a': [1]}"#,
            "{\"a\": [\"x\ny\"]}",
            r#"{"a": ["\x"]}"#,
            r#"{"a": ["x"#,
        ],
        expect![[r#"
            line 1 column 1: expected a JSON value, found the end
            line 2 column 10: expected a JSON value, found `]`
            line 1 column 12: expected the end of the text, found `x`
            line 1 column 9: expected `,` or `]`, found `1`
            line 1 column 10: expected a digit, found `]`
            line 1 column 2: expected a key in quotes, found `'`
            line 1 column 10: expected a character other than a control character, found \n
            line 1 column 9: expected an escape that JSON knows, found `\`
            line 1 column 10: expected `"`, found the end
        "#]],
    );
}

#[test]
fn the_path_is_at_hand_for_those_who_point_at_it() {
    let fault = Pattern::compile(r#"{"detail": {"state": [{"prefix": 1}]}}"#).unwrap_err();
    assert_eq!(fault.path(), Some("detail.state[0].prefix"));
    assert_eq!(fault.found(), "1");
    assert_eq!(Pattern::compile("{").unwrap_err().path(), None);
}

fn check(patterns: &[&str], faults: Expect) {
    let said: Vec<String> = patterns
        .iter()
        .map(|text| Pattern::compile(text).unwrap_err().to_string() + "\n")
        .collect();
    faults.assert_eq(&said.concat());
}
