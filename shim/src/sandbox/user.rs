//! The user as whom a plugin runs.

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// As it stands in the settings: a name or a number.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its own group.
    pub gid: u32,
    /// The numbers of the other groups that it belongs to.
    pub groups: Vec<u32>,
}

impl User {
    /// Finds `name` among the lines of `passwd` and `group` (passwd(5), group(5)).
    ///
    /// A number that stands in neither is a user all the same, with the group of that number:
    /// files of its own are all that it needs.
    #[must_use]
    pub fn find(name: &str, passwd: &str, group: &str) -> Option<Self> {
        let number: Option<u32> = name.parse().ok();
        let entry = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (login, _) = (fields.next()?, fields.next());
            let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            (login == name || number == Some(uid)).then(|| (login.to_owned(), uid, gid))
        });
        let Some((login, uid, gid)) = entry else {
            let uid = number?;
            return Some(Self { name: name.to_owned(), uid, gid: uid, groups: Vec::new() });
        };
        let groups = group.lines().filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let (gid, members) = (fields.next()?.parse().ok()?, fields.next()?);
            members.split(',').any(|member| member == login).then_some(gid)
        });
        Some(Self { name: name.to_owned(), uid, gid, groups: groups.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nredis:x:101:102::/var/lib/redis:/bin/no\n";
    const GROUP: &str = "root:x:0:\nssl:x:7:postgres,redis\nadm:x:4:redistribute\n";

    #[test]
    fn a_user_is_found_by_name_and_by_number_with_its_groups() {
        let redis =
            |name: &str| User { name: name.to_owned(), uid: 101, gid: 102, groups: vec![7] };
        assert_eq!(User::find("redis", PASSWD, GROUP), Some(redis("redis")));
        assert_eq!(User::find("101", PASSWD, GROUP), Some(redis("101")));
        let nobody = User { name: "63001".to_owned(), uid: 63_001, gid: 63_001, groups: vec![] };
        assert_eq!(User::find("63001", PASSWD, GROUP), Some(nobody));
        assert_eq!(User::find("stranger", PASSWD, GROUP), None);
    }
}
