//! File capabilities, which say whose root they are of when that is not the host's (linux/capability.h,
//! `vfs_ns_cap_data`). In an archive they are nobody's in particular, as in moby's
//! (`ReadSecurityXattrToTarHeader`): ids of a host mean nothing elsewhere.

/// The attribute.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";
/// Bytes of one that is the host's root's, and of one that says whose it is.
const PLAIN_BYTES: usize = 20;
/// Where the version is: the highest byte of a number, the lowest first.
const VERSION: usize = 3;

/// Takes away whose root they are of.
pub(crate) fn plain_capability(value: &mut Vec<u8>) {
    if value.len() > PLAIN_BYTES && value[VERSION] == 3 {
        value.truncate(PLAIN_BYTES);
        value[VERSION] = 2;
    }
}

/// Says that they are those of the root behind the host's id `root`. Where files are shown with other ids
/// the kernel takes none that do not say so.
pub(crate) fn capability_of(value: &mut Vec<u8>, root: u32) {
    if value.len() == PLAIN_BYTES && value[VERSION] == 2 {
        value[VERSION] = 3;
        value.extend_from_slice(&root.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_they_are_is_said_and_taken_away() {
        let mut plain = vec![0; PLAIN_BYTES];
        plain[..8].copy_from_slice(&[1, 0, 0, 2, 0, 4, 0, 0]);
        let mut value = plain.clone();
        capability_of(&mut value, 100_000);
        assert_eq!((value.len(), value[VERSION]), (24, 3));
        assert_eq!(value[20..], 100_000_u32.to_le_bytes());
        let once = value.clone();
        capability_of(&mut value, 5);
        assert_eq!(value, once);
        plain_capability(&mut value);
        assert_eq!(value, plain);
        for odd in [&[][..], &[3, 3, 3, 3], &[0; 24]] {
            let mut value = odd.to_vec();
            plain_capability(&mut value);
            capability_of(&mut value, 1);
            assert_eq!(value, odd);
        }
    }
}
