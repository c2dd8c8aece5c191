//! Names: of vendors, classes and devices.

/// Vendor and class of a kind, `vendor/class`.
pub(crate) fn split_kind(kind: &str) -> (&str, &str) {
    match kind.split_once('/') {
        Some((vendor, class)) if !vendor.is_empty() && !class.is_empty() => (vendor, class),
        _ => ("", kind),
    }
}

/// What is wrong with a vendor's name.
pub(crate) fn check_vendor(name: &str) -> Result<(), String> {
    check(name, "_-.").map_err(|why| format!("invalid vendor. {why}"))
}

/// What is wrong with the name of a class.
pub(crate) fn check_class(name: &str) -> Result<(), String> {
    check(name, "_-.").map_err(|why| format!("invalid class. {why}"))
}

/// What is wrong with the name of a device.
pub(crate) fn check_device(name: &str) -> Result<(), String> {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    if name.is_empty() {
        return Err("invalid (empty) device name".to_owned());
    }
    if !name.starts_with(alphanumeric) {
        let words = "should start with a letter or digit";
        return Err(format!("invalid class {name:?}, {words}"));
    }
    let bad = |c: &char| !(alphanumeric(*c) || "_-.:".contains(*c));
    if let Some(c) = name.chars().find(bad) {
        return Err(format!("invalid character '{c}' in device name {name:?}"));
    }
    if !name.ends_with(alphanumeric) {
        let words = "should end with a letter or digit";
        return Err(format!("invalid name {name:?}, {words}"));
    }
    Ok(())
}

fn check(name: &str, marks: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("empty name".to_owned());
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!("{name:?}, should start with letter"));
    }
    let bad = |c: &char| !(c.is_ascii_alphanumeric() || marks.contains(*c));
    if let Some(c) = name.chars().find(bad) {
        return Err(format!("invalid character '{c}' in name {name:?}"));
    }
    if !name.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!("{name:?}, should end with a letter or digit"));
    }
    Ok(())
}
