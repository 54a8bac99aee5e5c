//! Finds the function at an address, by `/proc/kallsyms`.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    ops::Range,
    sync::Arc,
    thread::{self, JoinHandle},
};

use tracer_core::model::Place;

/// File of the kernel's symbols; without CAP_SYSLOG, all addresses are 0.
const KALLSYMS: &str = "/proc/kallsyms";

/// File of the loaded modules.
const MODULES: &str = "/proc/modules";

/// Limit of an offset in a function, bytes. No function is larger, and other data follows the
/// last one.
const LARGEST: u64 = 1 << 20;

/// Setting that restricts the kernel's addresses.
const RESTRICTION: &str = "/proc/sys/kernel/kptr_restrict";

/// The kernel's functions, by address.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Begin of each function, and its name as a range of `names`, in order of addresses.
    functions: Vec<(u64, Range<u32>)>,
    names: String,
    /// Names of the modules that were loaded when the symbols were read.
    modules: Vec<String>,
    /// Places that were looked up before.
    places: HashMap<u64, Place>,
    /// Thread that reads the symbols, until the first look-up.
    reading: Option<JoinHandle<io::Result<Self>>>,
}

impl Symbols {
    /// Reads the running kernel's symbols; empty if it does not show addresses.
    ///
    /// # Errors
    /// If the files cannot be read.
    pub fn of_kernel() -> io::Result<Self> {
        // Modules are read first, so that a module loaded in the meantime does not count as
        // known.
        let modules = loaded_modules();
        Ok(Self {
            modules,
            ..Self::parse(BufReader::new(File::open(KALLSYMS)?))?
        })
    }

    /// As [`Symbols::of_kernel`], but read on a separate thread, so that the start does not
    /// wait. If the symbols cannot be read, places are addresses.
    pub fn later() -> Self {
        let reading = thread::Builder::new().name("symbols".to_owned());
        match reading.spawn(Self::of_kernel) {
            Ok(reading) => Self {
                reading: Some(reading),
                ..Self::default()
            },
            Err(_) => Self::of_kernel().unwrap_or_default(),
        }
    }

    fn parse(text: impl BufRead) -> io::Result<Self> {
        let mut symbols = Self::default();
        for line in text.split(b'\n') {
            // Modules' names need not be UTF-8.
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            let Some((address, name)) = function(&line).filter(|(address, _)| *address != 0) else {
                continue;
            };
            let end = |names: &str| u32::try_from(names.len()).map_err(io::Error::other);
            let start = end(&symbols.names)?;
            symbols.names.push_str(name);
            let name = start..end(&symbols.names)?;
            symbols.functions.push((address, name));
        }
        // The sort is stable: if an address has several names, the last one in the list counts.
        symbols.functions.sort_by_key(|(address, _)| *address);
        symbols.functions.shrink_to_fit();
        symbols.names.shrink_to_fit();
        Ok(symbols)
    }

    /// The place of the call that returns to `address`.
    ///
    /// An unknown address may be in a module that was loaded after the symbols were read,
    /// behind a function of another module. Then they are read again.
    pub fn caller(&mut self, address: u64) -> Place {
        if let Some(reading) = self.reading.take() {
            *self = reading.join().ok().and_then(Result::ok).unwrap_or_default();
        }
        if let Some(place) = self.places.get(&address) {
            return place.clone();
        }
        if loaded_modules() != self.modules
            && let Ok(symbols) = Self::of_kernel()
        {
            *self = symbols;
        }
        let place = self.find(address);
        self.places.insert(address, place.clone());
        place
    }

    fn find(&self, address: u64) -> Place {
        // A call at the very end of a function returns to the start of the next one.
        let call = address.saturating_sub(1);
        let after = self.functions.partition_point(|(start, _)| *start <= call);
        let found = after
            .checked_sub(1)
            .map(|index| &self.functions[index])
            .filter(|(start, _)| call - start < LARGEST);
        match found {
            Some((start, name)) => Place {
                function: plain(&self.names[name.start as usize..name.end as usize]),
                offset: address - start,
            },
            None => Place::raw(address),
        }
    }
}

/// Parses a line of [`KALLSYMS`] about a function: its address and its name.
fn function(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    let address = u64::from_str_radix(address, 16).ok()?;
    matches!(kind, "t" | "T" | "w" | "W").then_some((address, name))
}

/// One sentence on what is missing and what to do, if the kernel hides its symbols from this
/// process; `None` otherwise.
#[must_use]
pub fn hidden_symbols() -> Option<String> {
    let missing = missing(
        File::open(KALLSYMS).map(BufReader::new),
        fs::read_to_string(RESTRICTION).ok().as_deref(),
    )?;
    Some(format!(
        "the kernel hides which function drops a packet ({missing}): a drop decides only where \
         its reason alone tells a loss from the end of a delivered packet"
    ))
}

/// Why there are no symbols; `None` if there are. Either all of them are hidden, or none.
fn missing(symbols: io::Result<impl BufRead>, restriction: Option<&str>) -> Option<String> {
    let is_shown = symbols.and_then(|symbols| {
        for line in symbols.split(b'\n') {
            // Modules' names need not be UTF-8.
            if let Some((address, _)) = function(&String::from_utf8_lossy(&line?)) {
                return Ok(Some(address != 0));
            }
        }
        Ok(None)
    });
    match is_shown {
        Ok(Some(true)) => None,
        Ok(Some(false)) if restriction.map(str::trim) == Some("2") => {
            Some("kernel.kptr_restrict is 2: set it to 1".to_owned())
        }
        Ok(Some(false)) => Some("tracer needs CAP_SYSLOG for that".to_owned()),
        Ok(None) => Some(format!("{KALLSYMS} is empty: it needs CONFIG_KALLSYMS=y")),
        Err(error) => Some(format!("{KALLSYMS} cannot be read: {error}")),
    }
}

/// Names of all loaded modules, the latest first; empty if the kernel has no modules.
fn loaded_modules() -> Vec<String> {
    let text = fs::read(MODULES).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names.map(str::to_owned).collect()
}

/// A function's name as in the source, without suffixes of the compiler.
fn plain(name: &str) -> Arc<str> {
    match name.split_once('.') {
        Some((plain, _)) if !plain.is_empty() => Arc::from(plain),
        _ => Arc::from(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ffffffff81000100 T icmp_rcv\n\
        ffffffff81000300 t ip_rcv_core.constprop.0\n\
        ffffffff81000200 d table\n\
        ffffffff81000400 T arp_rcv\t[module]\n";

    fn parse(text: &str) -> Symbols {
        Symbols::parse(text.as_bytes()).expect("text in memory can be read")
    }

    fn called(symbols: &Symbols, address: u64) -> (String, u64) {
        let place = symbols.find(address);
        (place.function.to_string(), place.offset)
    }

    #[test]
    fn an_address_is_in_the_function_before_it() {
        let symbols = parse(TEXT);
        let called = |address| called(&symbols, address);
        assert_eq!(
            called(0xffff_ffff_8100_0210),
            ("icmp_rcv".to_owned(), 0x110)
        );
        assert_eq!(
            called(0xffff_ffff_8100_0310),
            ("ip_rcv_core".to_owned(), 0x10)
        );
        let at_the_end = ("ip_rcv_core".to_owned(), 0x100);
        assert_eq!(called(0xffff_ffff_8100_0400), at_the_end);
        let before_all = ("0x1000".to_owned(), 0);
        assert_eq!(called(0x1000), before_all);
    }

    #[test]
    fn hidden_addresses_are_no_symbols() {
        let symbols = parse("0000000000000000 T icmp_rcv\n");
        assert_eq!(called(&symbols, 0x1234), ("0x1234".to_owned(), 0));
        assert_eq!(symbols.find(0x1234).known_function(), None);
        let anonymous = Place {
            function: Arc::from(Place::NAMELESS),
            offset: 0,
        };
        assert_eq!(anonymous.known_function(), None);
        let shown = parse(TEXT).find(0xffff_ffff_8100_0210);
        assert_eq!(shown.known_function(), Some("icmp_rcv"));
    }

    #[test]
    fn why_symbols_are_hidden_is_told_with_what_to_do() {
        const HIDDEN: &str = "0000000000000000 A table\n0000000000000000 T icmp_rcv\n";
        let told = |text: &'static str, restriction| missing(Ok(text.as_bytes()), restriction);
        assert_eq!(told(TEXT, Some("1\n")), None);
        let cause = |text, restriction| told(text, restriction).expect("they are hidden");
        assert!(cause(HIDDEN, Some("2\n")).contains("kptr_restrict is 2"));
        assert!(cause(HIDDEN, Some("1\n")).contains("CAP_SYSLOG"));
        assert!(cause(HIDDEN, None).contains("CAP_SYSLOG"));
        assert!(cause("", None).contains("CONFIG_KALLSYMS"));
        let unreadable: io::Result<&[u8]> = Err(io::ErrorKind::PermissionDenied.into());
        let cause = missing(unreadable, None).expect("they are hidden");
        assert!(cause.contains("cannot be read"), "{cause}");
    }
}
