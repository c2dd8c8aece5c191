//! Names, digests and platforms: what is read and shown is read again as the same.

use model::{Digest, Platform, Reference};

/// `name[:tag][@digest]`.
pub fn reference(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(reference) = text.parse::<Reference>() else {
        return;
    };
    let shown = reference.to_string();
    assert_eq!(shown.parse::<Reference>().unwrap(), reference, "{shown:?}");
    // What users write is read as it was, but for names of Docker Hub that begin like a registry's, which
    // Docker mixes up as well.
    let first = reference.path().split('/').next().unwrap();
    let like_a_registry = first.contains('.') || first == "localhost";
    if reference.domain() != "docker.io" || !like_a_registry || !reference.path().contains('/') {
        let familiar = reference.familiar();
        assert_eq!(
            familiar.parse::<Reference>().unwrap(),
            reference,
            "{familiar:?}"
        );
    }
    // It becomes part of addresses and file names.
    let parts = [
        reference.domain(),
        reference.path(),
        reference.tag().unwrap_or("x"),
    ];
    for part in parts {
        assert!(!part.is_empty() && part.len() <= 255, "{part:?}");
        assert!(
            part.is_ascii() && !part.contains(char::is_whitespace),
            "{part:?}"
        );
        assert!(
            part.split('/').all(|p| !matches!(p, "" | "." | "..")),
            "{part:?}"
        );
    }
    assert!(!reference.path().contains(char::is_uppercase));
    assert!(reference.tag().is_some() || reference.digest().is_some());
    let tagged = reference.with_tag("other").unwrap();
    assert_eq!(tagged.path(), reference.path());
    let json = serde_json::to_string(&reference).unwrap();
    assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
}

pub(crate) fn reference_seeds() -> Vec<Vec<u8>> {
    let digest = format!("sha256:{}", "0a".repeat(32));
    [
        "busybox",
        "busybox:latest",
        "user/app:1.2_3-x",
        "docker.io/library/busybox",
        "index.docker.io/library/x",
        "localhost/a",
        "localhost:5000/a/b:v1.2",
        "[2001:db8::1]:5000/a",
        "registry.example.com/a__b/c.d/e-f---g:T",
        "UPPER/x",
        "docker.io/localhost/x",
        "a.b/c",
        "sha256:abc",
        "library/library/x",
        &format!("x@{digest}"),
        &format!("x:1@{digest}"),
        &digest,
        &digest[7..],
        "../x",
        "x\n:1",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

/// `sha256:HEX`.
pub fn digest(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let right = text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .chars()
                .all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
    });
    match text.parse::<Digest>() {
        Ok(digest) => {
            assert!(right, "{text:?} was taken");
            assert_eq!(digest.to_string(), text);
            assert_eq!(format!("sha256:{}", digest.hex()), text);
            assert!(digest.hex().starts_with(digest.short()));
            let json = serde_json::to_string(&digest).unwrap();
            assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }
        Err(e) => {
            assert!(!right, "{text:?} was refused");
            assert!(e.message().len() < 2000, "{e}");
        }
    }
}

pub(crate) fn digest_seeds() -> Vec<Vec<u8>> {
    let hex = "0123456789abcdef".repeat(4);
    [
        format!("sha256:{hex}"),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha512:{hex}{hex}"),
        format!("md5:{}", &hex[..32]),
        hex,
        "sha256:../../../etc/passwd".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// `os/architecture/variant`.
pub fn platform(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match Platform::parse(text) {
        Ok(platform) => {
            let shown = platform.to_string();
            assert_eq!(Platform::parse(&shown).unwrap(), platform, "{shown:?}");
            assert!(platform.takes(&platform), "{shown:?}");
        }
        Err(e) => assert!(e.message().len() < 2000, "{e}"),
    }
}

pub(crate) fn platform_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "linux/amd64",
        "linux/arm64/v8",
        "linux/arm/v7",
        "arm64",
        "windows(10.0.1)/amd64",
        "linux",
        "linux/amd64/v3",
        "linux/x86_64",
        "no/such/platform/at/all",
        "*",
        "linux/386",
        "aarch64",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
