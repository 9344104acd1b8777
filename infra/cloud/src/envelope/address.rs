//! Where certificates of SNS are, and what they are called. Narrower than the vendor's own
//! validators, whose pattern also fits names of buckets.

/// Whether a text has the shape of a Region: `[a-z]{2}(-[a-z]+)+-[0-9]{1,2}`.
pub(super) fn is_region(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    let letters = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    let [area, middle @ .., number] = words.as_slice() else { return false };
    area.len() == 2
        && letters(area)
        && !middle.is_empty()
        && middle.iter().all(letters)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// Whether an ARN is that of a topic of this Region.
pub(super) fn is_topic(arn: &str, region: &str) -> bool {
    let words: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "sns", of, account, name] = words.as_slice() else { return false };
    partition.starts_with("aws")
        && *of == region
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The last part of a certificate's address, a plain file name; `None` where the address is any
/// other than `https://sns.REGION.amazonaws.com/SimpleNotificationService-HEX.pem`.
///
/// The text is compared and not parsed, so that no two readers can differ about its host.
pub(super) fn file<'a>(url: &'a str, region: &str) -> Option<&'a str> {
    let file = url.strip_prefix(&base(region))?;
    let hex = file.strip_prefix("SimpleNotificationService-")?.strip_suffix(".pem")?;
    let fine = (1..=64).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit());
    fine.then_some(file)
}

/// What the address of a certificate begins with.
pub(super) fn base(region: &str) -> String {
    format!("https://sns.{region}.{}/", domain(region))
}

/// The host that certificates come from.
pub(super) fn host(region: &str) -> String {
    format!("sns.{region}.{}", domain(region))
}

/// The names that a signing certificate of this Region may bear.
///
/// Source: AWS SDK for Java 2, `sns-message-manager`, the names of certificates by Region
/// (checked 2026-11): `sns.amazonaws.com` in the old Regions, `sns-signing.REGION` in those that
/// one opts into, `sns-REGION` in China, and the name of `us-gov-west-1` in both Regions of
/// GovCloud. A new Region needs no new version of ours, so all that fit the Region are taken.
pub(super) fn names(region: &str) -> Vec<String> {
    let domain = domain(region);
    let mut names = vec![
        "sns.amazonaws.com".to_owned(),
        format!("sns-signing.{region}.{domain}"),
        format!("sns-{region}.{domain}"),
    ];
    if region.starts_with("us-gov-") {
        names.push("sns-us-gov-west-1.amazonaws.com".to_owned());
    }
    names
}

fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}
