//! The keys and signatures of `samples/signed` were made by its `make.sh`.

use expect_test::{Expect, expect};

use super::*;

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../samples/signed/", $name))
    };
}

const SEVEN: &str = sample!("orders-7.json");
const EIGHT: &str = sample!("orders-8.json");

fn keys(names: &[&str]) -> Vec<Key> {
    let text = |name| if name == "team.pub" { sample!("team.pub") } else { sample!("next.pub") };
    names.iter().map(|name| Key::read(name, text(*name)).unwrap()).collect()
}

fn facts(account: &str, role: &str) -> Facts {
    Facts {
        id: "i-0a1b2c3d4e5f60718".parse().ok(),
        account: Some(account.to_owned()),
        region: Some("us-east-1".to_owned()),
        tags: [("role".to_owned(), role.to_owned())].into(),
        ..Facts::default()
    }
}

fn at(moment: &str) -> Timestamp {
    moment.parse().unwrap()
}

fn name(name: &str) -> PolicyName {
    name.parse().unwrap()
}

/// What becomes of a document that comes, with both keys here and version 7 seen.
fn come(text: &str, signature: Option<&str>) -> Result<Statement, Refusal> {
    let both = keys(&["next.pub", "team.pub"]);
    let said = verify(&name("orders"), text, signature, &both, &Revocations::default())?;
    let facts = facts("123456789012", "web");
    said.admits(Some((7, text == SEVEN)), &facts, at("2026-11-21T10:00:00Z"))?;
    Ok(said)
}

fn check(cases: &[(&str, Result<Statement, Refusal>)], expected: Expect) {
    let line = |(case, became): &(&str, Result<Statement, Refusal>)| match became {
        Ok(said) => format!("{case}: taken, version {} by {}\n", said.version, said.key),
        Err(refusal) => format!("{case}: {refusal}\n"),
    };
    expected.assert_eq(&cases.iter().map(line).collect::<String>());
}

#[test]
fn i1_what_is_unsigned_wrongly_signed_expired_older_or_for_others_is_refused_with_its_reason() {
    let cases = [
        ("the same again", come(SEVEN, Some(sample!("orders-7.minisig")))),
        ("a newer one", come(EIGHT, Some(sample!("orders-8.minisig")))),
        ("without a signature", come(EIGHT, None)),
        ("nonsense", come(EIGHT, Some("{}"))),
        ("too long", come(EIGHT, Some(&"x".repeat(LONGEST_SIGNATURE + 1)))),
        ("a stranger's", come(EIGHT, Some(sample!("stranger.minisig")))),
        ("that of another text", come(EIGHT, Some(sample!("orders-7.minisig")))),
        ("of the old kind", come(EIGHT, Some(sample!("legacy.minisig")))),
        ("without our words", come(EIGHT, Some(sample!("wordless.minisig")))),
        ("another text, same version", come(EIGHT, Some(sample!("orders-8-as-7.minisig")))),
        ("expired", come(EIGHT, Some(sample!("expired.minisig")))),
        ("of another account", come(EIGHT, Some(sample!("elsewhere.minisig")))),
        ("of another role", come(EIGHT, Some(sample!("tagged.minisig")))),
    ];
    check(
        &cases,
        expect![[r#"
            the same again: taken, version 7 by team.pub
            a newer one: taken, version 8 by next.pub
            without a signature: it is not signed; `snooze policy sign` signs it
            nonsense: its signature cannot be read: it is no signature of minisign
            too long: its signature cannot be read: longer than 16384 bytes
            a stranger's: none of the keys that are here signed it (next.pub, team.pub)
            that of another text: its signature by `team.pub` is that of another text: it was changed
            of the old kind: its signature cannot be read: it is of the old kind; sign again with `snooze policy sign`
            without our words: what its signature says cannot be used: $: not readable as JSON: expected ident at line 1 column 2
            another text, same version: its version 7 was seen with another text: a change needs a higher version
            expired: its signature expired at 2026-01-01T00:00:00Z
            of another account: it was signed for other instances
            of another role: it was signed for other instances
        "#]],
    );
}

#[test]
fn i1_an_older_version_is_refused_and_one_under_another_name_too() {
    let keys = keys(&["team.pub"]);
    let signature = Some(sample!("orders-7.minisig"));
    let none = Revocations::default();
    let said = verify(&name("orders"), SEVEN, signature, &keys, &none).unwrap();
    let here = facts("123456789012", "web");
    let now = at("2026-11-21T10:00:00Z");
    assert_eq!(said.admits(None, &here, now), Ok(()));
    let older = Refusal::Older { version: 7, seen: 8 };
    assert_eq!(said.admits(Some((8, false)), &here, now), Err(older));
    let other = verify(&name("web"), SEVEN, signature, &keys, &none);
    assert_eq!(other, Err(Refusal::OtherName));
}

#[test]
fn i1_every_byte_of_a_document_and_of_what_its_signature_says_is_signed() {
    let keys = keys(&["team.pub"]);
    let signature = sample!("orders-7.minisig");
    let verify = |text: &str, signature: &str| {
        verify(&name("orders"), text, Some(signature), &keys, &Revocations::default())
    };
    assert!(verify(SEVEN, signature).is_ok());
    for place in 0..SEVEN.len() {
        let mut bytes = SEVEN.as_bytes().to_vec();
        bytes[place] ^= 1;
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(verify(&text, signature), Err(Refusal::Forged("team.pub".to_owned())));
    }
    assert!(verify(&format!("{SEVEN} "), signature).is_err());
    let changed = signature.replace("\"version\":7", "\"version\":9");
    assert_eq!(verify(SEVEN, &changed), Err(Refusal::Forged("team.pub".to_owned())));
    // Only the first line is nobody's word.
    let first = signature.replacen("signature from", "something of", 1);
    assert!(verify(SEVEN, &first).is_ok());
}

#[test]
fn i2_while_keys_are_rotated_two_count_and_then_one() {
    let both = keys(&["team.pub", "next.pub"]);
    let [old, new] = [keys(&["team.pub"]), keys(&["next.pub"])];
    let by = |keys: &[Key], text, signature| {
        let said = verify(&name("orders"), text, Some(signature), keys, &Revocations::default());
        said.is_ok()
    };
    let [seven, eight] = [sample!("orders-7.minisig"), sample!("orders-8.minisig")];
    assert!(by(&both, SEVEN, seven) && by(&both, EIGHT, eight));
    assert!(by(&old, SEVEN, seven) && !by(&old, EIGHT, eight));
    assert!(!by(&new, SEVEN, seven) && by(&new, EIGHT, eight));
    assert!(!by(&[], SEVEN, seven));
}

#[test]
fn i2_what_is_revoked_does_not_count_though_its_key_is_here() {
    let keys = keys(&["team.pub", "next.pub"]);
    let team = sample!("team.pub").lines().nth(1).unwrap();
    let list = json!({ "version": 3, "keys": [team] }).to_string();
    let by = |text: &str, signature, list: &Revocations| {
        verify(&name("orders"), text, Some(signature), &keys, list).map(|said| said.version)
    };
    let list = Revocations::read(&list).unwrap();
    assert_eq!(list.version, 3);
    let [seven, eight] = [sample!("orders-7.minisig"), sample!("orders-8.minisig")];
    assert_eq!(by(SEVEN, seven, &list), Err(Refusal::RevokedKey("team.pub".to_owned())));
    assert_eq!(by(EIGHT, eight, &list), Ok(8));
    let list = Revocations::read(r#"{ "version": 4, "policies": { "orders": 7 } }"#).unwrap();
    assert_eq!(by(SEVEN, seven, &list), Err(Refusal::Revoked(7)));
    assert_eq!(by(EIGHT, eight, &list), Ok(8));
}

#[test]
fn i2_a_list_that_cannot_be_used_says_why() {
    let faults = |text: &str| {
        let faults = Revocations::read(text).unwrap_err();
        faults.iter().map(|fault| format!("{fault}\n")).collect::<String>()
    };
    expect![[r#"
        $: unknown key `key`: did you mean `keys`?
        $.version: expected a whole number from 1
        $.keys[0]: expected a public key of minisign
        $.policies: "-": expected the name of a policy with a version
    "#]]
    .assert_eq(&faults(r#"{ "key": 1, "keys": ["x"], "policies": { "-": 1 } }"#));
    assert!(Revocations::read("[").is_err() && Revocations::read("[]").is_err());
}

#[test]
fn i1_what_a_signature_says_is_read_strictly_and_written_as_it_is_read() {
    let faults = |text: &str| {
        let faults = Statement::read(text).unwrap_err();
        faults.iter().map(|fault| format!("{fault}\n")).collect::<String>()
    };
    expect![[r#"
        $: unknown key `expire`: did you mean `expires`?
        $.version: expected a whole number from 1
        $.expires: expected a moment as `2027-03-01T00:00:00Z`
        $.scope.acount: events have no such member: did you mean `account`?
    "#]]
    .assert_eq(&faults(r#"{ "version": 0, "expire": "x", "scope": { "acount": ["1"] } }"#));
    let expires = at("2099-01-01T00:00:00Z");
    let scope = json!({ "account": ["123456789012"] });
    let said = Statement::read(&Statement::comment(7, expires, Some(&scope))).unwrap();
    assert_eq!((said.version, said.expires), (7, expires));
    assert!(said.is_for(&facts("123456789012", "web")) && !said.is_for(&facts("1", "web")));
    let all = Statement::read(&Statement::comment(7, expires, None)).unwrap();
    assert!(all.is_for(&Facts::default()));
}

// C10: what does not survive a reader of numbers is signed as it stands.
#[test]
fn c10_documents_are_signed_over_their_bytes_whatever_numbers_they_hold() {
    for number in ["7e62", "1e400", "-0", "9223372036854775808", "18446744073709551615"] {
        let text = SEVEN.replace("35", number);
        let keys = keys(&["team.pub"]);
        let signature = Some(sample!("orders-7.minisig"));
        let refused = verify(&name("orders"), &text, signature, &keys, &Revocations::default());
        assert_eq!(refused, Err(Refusal::Forged("team.pub".to_owned())), "{number}");
    }
    let huge = Statement::comment(u64::MAX, at("2099-01-01T00:00:00Z"), None);
    assert_eq!(Statement::read(&huge).unwrap().version, u64::MAX);
}
