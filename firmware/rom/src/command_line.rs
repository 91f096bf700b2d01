//! A command line that fw_cfg gives.

use crate::failure::Failure;
use crate::fw_cfg::{File, FwCfg};
use guest_interface::layout::COMMAND_LINE_LEN_MAX;

/// Reads a command line, with or without a NUL at its end, into the place where the kernel finds it.
///
/// # Errors
/// [`Failure::CommandLineTooLong`], [`Failure::TransferFailed`].
pub fn read(
    fw_cfg: &mut impl FwCfg,
    item: File,
    place: &mut [u8; COMMAND_LINE_LEN_MAX],
) -> Result<(), Failure> {
    let len = item.len as usize;
    let line = place.get_mut(..len).ok_or(Failure::CommandLineTooLong)?;
    fw_cfg.read(item.key, 0, line)?;
    if !line.contains(&0) {
        *place.get_mut(len).ok_or(Failure::CommandLineTooLong)? = 0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fw_cfg::tests::Items;

    fn read(content: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut items = Items::new();
        items.items.insert(7, content.to_vec());
        let mut place = [0xa5; COMMAND_LINE_LEN_MAX];
        super::read(&mut items, File { key: 7, len: content.len() as u32 }, &mut place)?;
        let len = place.iter().position(|byte| *byte == 0).unwrap();
        Ok(place[..len].to_vec())
    }

    #[test]
    fn a_line_ends_with_its_nul_or_its_item() {
        assert_eq!(read(b"log=info -- a"), Ok(b"log=info -- a".to_vec()));
        assert_eq!(read(b"log=info -- a\0"), Ok(b"log=info -- a".to_vec()));
        assert_eq!(read(b"log=info\0 -- a"), Ok(b"log=info".to_vec()));
        assert_eq!(read(b""), Ok(vec![]));
    }

    #[test]
    fn the_longest_line_has_4095_bytes() {
        let longest = [b'x'; COMMAND_LINE_LEN_MAX - 1];
        assert_eq!(read(&longest), Ok(longest.to_vec()));
        assert_eq!(read(&[&longest[..], b"\0"].concat()), Ok(longest.to_vec()));
        assert_eq!(read(&[&longest[..], b"x"].concat()), Err(Failure::CommandLineTooLong));
        assert_eq!(read(&[&longest[..], b"\0\0"].concat()), Err(Failure::CommandLineTooLong));
        let endless = File { key: 7, len: u32::MAX };
        let place = &mut [0; COMMAND_LINE_LEN_MAX];
        assert_eq!(super::read(&mut Items::new(), endless, place), Err(Failure::CommandLineTooLong));
    }
}
