//! Users and groups of a container, looked up in its own `/etc/passwd` and `/etc/group`.
//!
//! The files belong to the image: they are read inside the rootfs only ([`sys::rootfs`]), up to
//! [`limits::PASSWD_BYTES_MAX`], and never through the host's name services. The rules and words
//! are those of moby/sys/user `GetExecUser`, with one difference on purpose: an entry whose
//! number cannot be read is no entry. There it counts as 0, which is root.

use std::path::Path;

use model::{Context, Error, Result, limits};

/// Highest user or group id (moby/sys/user: the positive half of 32 bits).
const ID_MAX: u32 = i32::MAX.cast_unsigned();

/// Who a process is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// The group id, the supplementary groups, the added groups; each once.
    pub additional_gids: Vec<u32>,
    /// Home directory of the passwd entry; empty when there is none.
    pub home: String,
}

/// Resolves `user[:group]` and additional groups inside a rootfs. An empty `user` is root.
///
/// Numbers need no entry. Names do. A numeric user with an entry gets its group, home and
/// supplementary groups, unless a group is given. Blocking: two small reads.
///
/// # Errors
///
/// `System`, as dockerd answers at start, in its words: `unable to find user x: no matching
/// entries in passwd file`, `unable to find group x: ...`, `uids and gids must be in range ...`.
pub fn resolve(rootfs: &Path, user: &str, group_add: &[String]) -> Result<ResolvedUser> {
    let read = |path: &str| {
        sys::rootfs::read_file(rootfs, path, limits::PASSWD_BYTES_MAX)
            .context(format!("read {path} of the container"))
            .map(|bytes| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    };
    let group = read("/etc/group")?;
    resolve_in(&read("/etc/passwd")?, &group, user, group_add)
}

/// The decision, from the files' text.
fn resolve_in(passwd: &str, group: &str, user: &str, group_add: &[String]) -> Result<ResolvedUser> {
    let mut words = user.split(':');
    let user = Name::parse(words.next().unwrap_or_default())?;
    let wanted_group = Name::parse(words.next().unwrap_or_default())?;

    let entry = passwd_entries(passwd).find(|e| match user {
        Name::None => e.uid == 0,
        Name::Id(uid) => e.uid == uid,
        Name::Text(name) => e.name == name,
    });
    let uid = match (&entry, user) {
        (Some(entry), _) => entry.uid,
        (None, Name::Id(uid)) => uid,
        (None, Name::None) => 0,
        (None, Name::Text(name)) => {
            return Err(Error::system(format!(
                "unable to find user {}: no matching entries in passwd file",
                clip(name)
            )));
        }
    };
    let gid = match wanted_group {
        Name::None => entry.as_ref().map_or(0, |e| e.gid),
        wanted => find_group(group, wanted)?,
    };
    let mut gids = vec![gid];
    // An explicit group replaces the user's own ones, supplementary ones included.
    if let (Some(entry), Name::None) = (&entry, wanted_group) {
        gids.extend(
            group_entries(group)
                .filter(|g| g.members.split(',').any(|m| m == entry.name))
                .map(|g| g.gid),
        );
    }
    for added in group_add {
        gids.push(find_group(group, Name::parse(added)?)?);
    }
    let mut seen = std::collections::HashSet::new();
    gids.retain(|gid| seen.insert(*gid));
    Ok(ResolvedUser {
        uid,
        gid,
        additional_gids: gids,
        home: entry.map_or_else(String::new, |e| e.home.to_owned()),
    })
}

fn find_group(file: &str, wanted: Name<'_>) -> Result<u32> {
    let name = match wanted {
        Name::Id(gid) => return Ok(gid),
        Name::Text(name) => name,
        Name::None => "",
    };
    group_entries(file)
        .find(|g| !name.is_empty() && g.name == name)
        .map(|g| g.gid)
        .ok_or_else(|| {
            Error::system(format!(
                "unable to find group {}: no matching entries in group file",
                clip(name)
            ))
        })
}

/// Half of `user:group`.
#[derive(Clone, Copy)]
enum Name<'a> {
    None,
    Id(u32),
    Text(&'a str),
}

impl<'a> Name<'a> {
    /// A whole number is always an id, never the name of an entry.
    fn parse(text: &'a str) -> Result<Self> {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if text.is_empty() {
            return Ok(Self::None);
        }
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self::Text(text));
        }
        let id = text.parse::<i64>().ok().and_then(|n| u32::try_from(n).ok());
        id.filter(|n| *n <= ID_MAX)
            .map(Self::Id)
            .ok_or_else(|| Error::system(format!("uids and gids must be in range 0-{ID_MAX}")))
    }
}

/// passwd(5): `name:password:UID:GID:GECOS:directory:shell`.
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_entries(file: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(':');
        Some(PasswdEntry {
            name: fields.next().filter(|n| !n.is_empty())?,
            uid: parse_id(fields.nth(1)?)?,
            gid: parse_id(fields.next()?)?,
            home: fields.nth(1).unwrap_or_default(),
        })
    })
}

/// group(5): `group_name:password:GID:user_list`.
struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn group_entries(file: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    lines(file).filter_map(|line| {
        let mut fields = line.split(':');
        Some(GroupEntry {
            name: fields.next().filter(|n| !n.is_empty())?,
            gid: parse_id(fields.nth(1)?)?,
            members: fields.next().unwrap_or_default(),
        })
    })
}

/// Lines with something on them, as glibc reads these files.
fn lines(file: &str) -> impl Iterator<Item = &str> {
    file.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn parse_id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= ID_MAX)
}

/// A name from outside, short enough for a message.
fn clip(name: &str) -> String {
    name.chars().take(256).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
# comment:x:7:7::/:
  app:x:1000:1001:App:/srv/app:/bin/sh
broken:x:abc:5::/:
short:x:9
1234:x:1:1::/digits:
big:x:4294967295:0::/:
app:x:2000:2000:second:/never:/bin/sh
";
    const GROUP: &str = "\
root:x:0:root
wheel:x:10:app,root
video:x:44:app
app:x:1001:
empty:x:50:
bad:x:x:app
";

    fn get(user: &str, add: &[&str]) -> Result<(u32, u32, Vec<u32>, String)> {
        let add: Vec<String> = add.iter().map(ToString::to_string).collect();
        resolve_in(PASSWD, GROUP, user, &add).map(|u| (u.uid, u.gid, u.additional_gids, u.home))
    }

    #[test]
    fn users_by_name_and_number() {
        let root = (0, 0, vec![0, 10], "/root".to_owned());
        assert_eq!(get("", &[]).unwrap(), root);
        assert_eq!(get("root", &[]).unwrap(), root);
        assert_eq!(get("0", &[]).unwrap(), root);
        let app = (1000, 1001, vec![1001, 10, 44], "/srv/app".to_owned());
        assert_eq!(get("app", &[]).unwrap(), app);
        assert_eq!(get("1000", &[]).unwrap(), app);
        assert_eq!(get("app:", &[]).unwrap(), app);
        // A number without an entry is taken as it is, and never as a name.
        assert_eq!(get("1234", &[]).unwrap(), (1234, 0, vec![0], String::new()));
    }

    #[test]
    fn an_explicit_group_replaces_the_users_own() {
        assert_eq!(get("app:video", &[]).unwrap().2, [44]);
        assert_eq!(get("app:77", &[]).unwrap().2, [77]);
        assert_eq!(get("5:6", &[]).unwrap(), (5, 6, vec![6], String::new()));
        assert_eq!(get(":44", &[]).unwrap(), (0, 44, vec![44], "/root".into()));
        assert_eq!(
            get("app", &["empty", "44", "99"]).unwrap().2,
            [1001, 10, 44, 50, 99]
        );
    }

    #[test]
    fn what_is_not_there_is_told_in_dockers_words() {
        let refused = |user: &str, add: &[&str]| get(user, add).unwrap_err().message().to_owned();
        let user = |name| format!("unable to find user {name}: no matching entries in passwd file");
        let group =
            |name| format!("unable to find group {name}: no matching entries in group file");
        assert_eq!(refused("nosuch", &[]), user("nosuch"));
        assert_eq!(refused("app:nosuch", &[]), group("nosuch"));
        assert_eq!(refused("app", &["nosuch"]), group("nosuch"));
        for odd in ["broken", "short", "big", "12a", "-", "+"] {
            assert_eq!(refused(odd, &[]), user(odd));
        }
        for range in ["2147483648", "-1", "99999999999999999999", "app:4294967296"] {
            assert_eq!(
                refused(range, &[]),
                "uids and gids must be in range 0-2147483647",
                "{range}"
            );
        }
    }

    #[test]
    fn a_rootfs_without_files_knows_numbers_and_root() {
        let dir = tempfile::tempdir().unwrap();
        let user = resolve(dir.path(), "", &[]).unwrap();
        assert_eq!((user.uid, user.gid, user.additional_gids), (0, 0, vec![0]));
        assert_eq!(resolve(dir.path(), "7:8", &[]).unwrap().gid, 8);
        assert!(resolve(dir.path(), "app", &[]).is_err());
    }

    #[test]
    fn a_link_to_the_hosts_files_stays_inside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        let host = dir.path().with_extension("host-passwd");
        std::fs::write(&host, "mole:x:0:0::/:\n").unwrap();
        std::os::unix::fs::symlink(&host, dir.path().join("etc/passwd")).unwrap();
        let result = resolve(dir.path(), "mole", &[]);
        std::fs::remove_file(&host).unwrap();
        assert!(result.is_err());
    }

    #[test]
    fn a_directory_in_place_of_the_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/passwd")).unwrap();
        let e = resolve(dir.path(), "", &[]).unwrap_err();
        assert_eq!(
            e.message(),
            "read /etc/passwd of the container: not a regular file"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(
            passwd in "([a-z0-9:#, \n-]|\u{fffd}){0,200}",
            group in "[a-z0-9:,\n]{0,200}",
            user in "[a-z0-9:+-]{0,12}",
        ) {
            let _ = resolve_in(&passwd, &group, &user, &[]);
        }

        #[test]
        fn every_entry_is_found_by_name_and_by_number(
            users in prop::collection::btree_map(1u32..9000, 0u32..9000, 1..20),
            pick in any::<prop::sample::Index>(),
        ) {
            let passwd: String = users.iter()
                .map(|(uid, gid)| format!("u{uid}:x:{uid}:{gid}::/home/{uid}:\n"))
                .collect();
            let (uid, gid) = users.iter().nth(pick.index(users.len())).unwrap();
            for name in [format!("u{uid}"), uid.to_string()] {
                let found = resolve_in(&passwd, "", &name, &[]).unwrap();
                prop_assert_eq!((found.uid, found.gid), (*uid, *gid));
                prop_assert_eq!(found.home, format!("/home/{uid}"));
            }
        }

        #[test]
        fn membership_is_by_whole_names(members in prop::collection::vec("[ab]{1,3}", 0..6)) {
            let group = format!("g:x:70:{}\n", members.join(","));
            let found = resolve_in("a:x:5:6::/:\n", &group, "a", &[]).unwrap();
            prop_assert_eq!(found.additional_gids.contains(&70), members.iter().any(|m| m == "a"));
        }
    }
}
