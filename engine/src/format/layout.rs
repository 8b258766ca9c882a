//! Fixed structures on disk: declared once, as the table that `format-spec/` prints.

/// Declares a structure of little-endian fields without gaps, with its size checked when it is compiled. In tests its fields can
/// be listed, so that the tables of the specification are compared with it.
macro_rules! layout {
    ($(#[$meta:meta])* $vis:vis struct $name:ident: $size:literal { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
            zerocopy::Unaligned,
        )]
        #[repr(C)]
        $vis struct $name { $($(#[$doc])* pub $field: $type,)* }

        const _: () = assert!(size_of::<$name>() == $size);

        #[cfg(test)]
        impl $crate::format::layout::Described for $name {
            const NAME: &'static str = stringify!($name);
            const SIZE: usize = $size;
            fn fields() -> Vec<(&'static str, usize, usize)> {
                vec![$((stringify!($field), std::mem::offset_of!($name, $field), size_of::<$type>())),*]
            }
        }
    };
}
pub(crate) use layout;

/// What a test can ask of a declared structure.
#[cfg(test)]
pub(crate) trait Described {
    const NAME: &'static str;
    const SIZE: usize;
    /// Name, offset, size of each field.
    fn fields() -> Vec<(&'static str, usize, usize)>;
}
