//! References to secrets: a policy names a secret, and the instance resolves it just in time.

/// Where the instance finds a secret.
///
/// It holds no secret, so it may be logged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// `credential:NAME`: a systemd credential of the daemon.
    Credential(String),
    /// `env:NAME`: a variable of the daemon's environment.
    Env(String),
    /// `ssm:NAME`: a parameter of the Systems Manager parameter store.
    Ssm(String),
    /// `secretsmanager:NAME`: a secret of Secrets Manager, by name or ARN; `NAME#KEY` is one
    /// member of a secret that is a JSON object.
    SecretsManager(String),
}

/// The reference that a configuration value is; `None` for a value that is to be taken as it is.
///
/// Names hold only the characters that their store allows. A credential is a file name, so that
/// it can never lead out of the credentials directory.
#[must_use]
pub fn secret_reference(text: &str) -> Option<SecretRef> {
    let (scheme, name) = text.split_once(':')?;
    let of = |marks: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
        (!name.is_empty() && name.len() <= 2048 && name.chars().all(fine)).then(|| name.to_owned())
    };
    match scheme {
        "credential" if !name.starts_with('.') && name.len() <= 255 => {
            of("._-").map(SecretRef::Credential)
        }
        "env" if !name.starts_with(|c: char| c.is_ascii_digit()) => of("_").map(SecretRef::Env),
        "ssm" => of("/._-:").map(SecretRef::Ssm),
        "secretsmanager" if name.split_once('#').is_none_or(|(name, key)| is_member(name, key)) => {
            of("/_+=.@-:!#").map(SecretRef::SecretsManager)
        }
        _ => None,
    }
}

/// Whether both sides of a `#` can be what they should.
fn is_member(name: &str, key: &str) -> bool {
    !name.is_empty() && !key.is_empty() && !key.contains('#')
}

/// Whether a value has the beginning of a reference and yet is none: a slip, since no plugin can
/// do anything with it. Text with spaces is text.
pub(crate) fn is_broken_reference(text: &str) -> bool {
    let schemes = ["credential:", "env:", "ssm:", "secretsmanager:"];
    schemes.iter().any(|scheme| text.starts_with(scheme))
        && !text.contains(char::is_whitespace)
        && secret_reference(text).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_kinds_of_references_are_read() {
        let read = |text| secret_reference(text).unwrap();
        assert_eq!(read("credential:orders-dsn"), SecretRef::Credential("orders-dsn".to_owned()));
        assert_eq!(read("env:ORDERS_DSN"), SecretRef::Env("ORDERS_DSN".to_owned()));
        assert_eq!(read("ssm:/slack/url"), SecretRef::Ssm("/slack/url".to_owned()));
        assert_eq!(
            read("secretsmanager:arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders-AbC"),
            SecretRef::SecretsManager(
                "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders-AbC".to_owned()
            )
        );
    }

    #[test]
    fn one_member_of_a_secret_can_be_named() {
        let text = "secretsmanager:orders/db#password";
        let expected = SecretRef::SecretsManager("orders/db#password".to_owned());
        assert_eq!(secret_reference(text), Some(expected));
        for text in [
            "secretsmanager:#password",
            "secretsmanager:orders#",
            "secretsmanager:orders#a#b",
            "ssm:/orders#password",
        ] {
            assert_eq!(secret_reference(text), None, "{text}");
            assert!(is_broken_reference(text), "{text}");
        }
    }

    #[test]
    fn other_texts_are_taken_as_they_are() {
        for text in ["", "secret", "user:pass@tcp(localhost:3306)/db", "http://localhost", "ENV:X"]
        {
            assert_eq!(secret_reference(text), None, "{text}");
            assert!(!is_broken_reference(text), "{text}");
        }
        assert!(!is_broken_reference("env: staging"));
    }

    #[test]
    fn a_credential_never_leads_out_of_its_directory() {
        for text in
            ["credential:", "credential:../shadow", "credential:/etc/shadow", "credential:."]
        {
            assert_eq!(secret_reference(text), None, "{text}");
            assert!(is_broken_reference(text), "{text}");
        }
        for text in ["env:", "env:1X", "env:A=B", "ssm:", "ssm:a;b"] {
            assert!(is_broken_reference(text), "{text}");
        }
    }
}
