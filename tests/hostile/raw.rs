//! A tar byte by byte: headers whose every field can be a lie, with the checksum made right at the end.

use sha2::{Digest as _, Sha256};

const BLOCK_BYTES: usize = 512;

/// A header that is being filled.
#[derive(Debug, Clone)]
pub struct Head([u8; BLOCK_BYTES]);

impl Head {
    /// GNU's form, an owner and a time like everybody's; a name is cut to its field.
    pub fn new(kind: u8, name: impl AsRef<[u8]>) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        Self([0; BLOCK_BYTES])
            .field(257, b"ustar  \0")
            .field(156, &[kind])
            .text(0..100, name.as_ref())
            .octal(100..108, mode)
            .octal(108..116, 0)
            .octal(116..124, 0)
            .octal(124..136, 0)
            .octal(136..148, 1_000_000)
    }

    /// Bytes anywhere.
    #[must_use]
    pub fn field(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn text(self, field: std::ops::Range<usize>, text: &[u8]) -> Self {
        let text = &text[..text.len().min(field.len())];
        self.field(field.start, text)
    }

    /// A number as most programs write it.
    #[must_use]
    pub fn octal(self, field: std::ops::Range<usize>, value: u64) -> Self {
        let digits = field.len() - 1;
        let text = format!("{value:0digits$o}\0");
        self.field(field.start, text.as_bytes())
    }

    /// Where a link leads.
    #[must_use]
    pub fn link(self, target: impl AsRef<[u8]>) -> Self {
        self.text(157..257, target.as_ref())
    }

    /// How much content it claims to have.
    #[must_use]
    pub fn size(self, bytes: u64) -> Self {
        match bytes {
            0..=0o777_7777_7777 => self.octal(124..136, bytes),
            _ => self.field(124, &base_256(i128::from(bytes), 12)),
        }
    }

    /// The numbers of a device.
    #[must_use]
    pub fn device(self, major: u64, minor: u64) -> Self {
        self.octal(329..337, major).octal(337..345, minor)
    }

    /// Its bytes, the checksum right.
    pub fn sealed(mut self) -> [u8; BLOCK_BYTES] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|b| u32::from(*b)).sum();
        self.field(148, format!("{sum:06o}\0 ").as_bytes()).0
    }
}

/// A number as GNU tar writes one that octal digits do not hold, the topmost bit being the mark.
pub fn base_256(value: i128, bytes: usize) -> Vec<u8> {
    let all = value.to_be_bytes();
    let mut field = all[all.len() - bytes..].to_vec();
    field[0] |= 0x80;
    field
}

/// An archive, entry after entry.
#[derive(Debug, Clone, Default)]
pub struct Raw(Vec<u8>);

impl Raw {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whatever bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A header as it is, and content padded to a block, however much of it the header speaks of.
    #[must_use]
    pub fn put(self, head: Head, content: &[u8]) -> Self {
        self.bytes(&head.sealed()).padded(content)
    }

    fn padded(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK_BYTES), 0);
        self
    }

    /// An honest entry with content.
    #[must_use]
    pub fn with_content(self, kind: u8, name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        self.put(Head::new(kind, name).size(content.len() as u64), content)
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, name: impl AsRef<[u8]>, content: &[u8]) -> Self {
        self.with_content(b'0', name, content)
    }

    /// A directory.
    #[must_use]
    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.put(Head::new(b'5', name), b"")
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, name: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> Self {
        self.put(Head::new(b'2', name).link(text), b"")
    }

    /// A further name of a file.
    #[must_use]
    pub fn hard_link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.put(Head::new(b'1', name).link(target), b"")
    }

    /// A device, `b'3'` of characters or `b'4'` of blocks.
    #[must_use]
    pub fn device(self, kind: u8, name: &str, major: u64, minor: u64) -> Self {
        self.put(Head::new(kind, name).device(major, minor), b"")
    }

    /// An extended header with these records, honest about their lengths.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let records: Vec<_> = records
            .iter()
            .map(|(key, value)| record(key, value))
            .collect();
        self.pax_bytes(&records.concat())
    }

    /// An extended header with these bytes.
    #[must_use]
    pub fn pax_bytes(self, records: &[u8]) -> Self {
        self.with_content(b'x', "PaxHeaders/x", records)
    }

    /// GNU's header with a long name.
    #[must_use]
    pub fn long_name(self, name: &[u8]) -> Self {
        self.with_content(b'L', "././@LongLink", name)
    }

    /// GNU's header with a long target.
    #[must_use]
    pub fn long_link(self, target: &[u8]) -> Self {
        self.with_content(b'K', "././@LongLink", target)
    }

    /// With the mark of its end.
    pub fn end(self) -> Vec<u8> {
        self.bytes(&[0; 2 * BLOCK_BYTES]).0
    }

    /// Without one.
    pub fn cut(self) -> Vec<u8> {
        self.0
    }
}

/// `length key=value\n`, the length counting its own digits.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// `sha256:` and the digits.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", const_hex::encode(Sha256::digest(bytes)))
}

/// Makes the checksums right that stand where a reader would look for a header, so that what was changed at
/// random is looked at.
pub fn reseal(tar: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..at + BLOCK_BYTES) {
        if block.iter().all(|b| *b == 0) {
            return;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let has_content = matches!(
            block[156],
            0 | b'0' | b'7' | b'x' | b'g' | b'L' | b'K' | b'S'
        );
        let digits = block[124..136].iter().take_while(|b| b.is_ascii_digit());
        let size = digits.fold(0, |size: usize, b| {
            size.saturating_mul(8).saturating_add(usize::from(b & 7))
        });
        let content = if has_content { size } else { 0 };
        at = (at + BLOCK_BYTES)
            .saturating_add(content.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES));
        if at > tar.len() {
            return;
        }
    }
}
