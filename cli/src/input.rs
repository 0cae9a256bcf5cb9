//! Files that commands read, of which `-` is standard input, and what Windows puts into text files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::exit::Failure;

/// The byte order mark, with which some programs begin a text in UTF-8.
pub(crate) const MARK: &str = "\u{feff}";

/// What to do with a text in UTF-16, which Windows calls Unicode.
pub(crate) const UTF_16: &str =
    "is UTF-16: convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8";

/// The source, and its length in bytes where that is known.
pub(crate) fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    let opened = || -> io::Result<(Box<dyn Read + Send>, Option<u64>)> {
        if path == Path::new("-") {
            return Ok((Box::new(io::stdin()), None));
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
    };
    opened().map_err(|source| unreadable(path, source))
}

/// All of a text, without a byte order mark.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let (mut source, _) = open(path)?;
    let mut bytes = Vec::new();
    source
        .read_to_end(&mut bytes)
        .map_err(|source| unreadable(path, source))?;
    if is_utf_16(&bytes) {
        return Err(Failure::Usage(format!("{} {UTF_16}", path.display())));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::Usage(format!("{} is not UTF-8", path.display())))?;
    Ok(without_mark(&text).to_owned())
}

/// A text without the byte order mark at its beginning.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Whether bytes begin with the byte order mark of UTF-16, in either order.
pub(crate) fn is_utf_16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])
}

fn unreadable(path: &Path, source: io::Error) -> Failure {
    Failure::Unreadable {
        path: path.to_owned(),
        source,
    }
}
