//! Numbers that say what a file and a section are. Once given, a number is never given again.

/// What an immutable file holds; the `file_kind` of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ContainerKind {
    /// Rows: vectors, ids, sequence numbers, attributes, payloads.
    Rows = 1,
    /// Ids, sorted by key.
    IdTable = 2,
    /// Dead rows.
    Tombstones = 3,
    /// Inverted lists.
    Lists = 4,
    /// A frame, centroids, codebooks.
    Model = 5,
    /// Something derived from one list segment, such as a graph. Reserved.
    Sidecar = 6,
}

impl ContainerKind {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            ContainerKind::Rows => "row file",
            ContainerKind::IdTable => "id table",
            ContainerKind::Tombstones => "tombstone file",
            ContainerKind::Lists => "list segment",
            ContainerKind::Model => "model",
            ContainerKind::Sidecar => "sidecar",
        }
    }

    /// Whether a file of this kind may leave its one sequence number to the manifest.
    pub fn takes_seq_from_manifest(self) -> bool {
        matches!(self, ContainerKind::Rows | ContainerKind::IdTable)
    }

    /// The kind with a number, if it is one of ours.
    pub fn from_number(number: u16) -> Option<Self> {
        [Self::Rows, Self::IdTable, Self::Tombstones, Self::Lists, Self::Model, Self::Sidecar]
            .into_iter()
            .find(|kind| *kind as u16 == number)
    }
}

/// What a section holds. The high byte of the low half is the file kind it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionKind(pub u32);

macro_rules! section_kinds {
    ($($(#[$doc:meta])* $constant:ident = $number:literal, $name:literal;)*) => {
        #[allow(dead_code, reason = "reserved numbers stand here so that nobody gives them twice")]
        impl SectionKind {
            $($(#[$doc])* pub const $constant: SectionKind = SectionKind($number);)*

            /// Every kind that has a number, reserved ones included.
            #[cfg(test)]
            pub const ALL: &[(u32, &'static str)] = &[$(($number, $name)),*];

            /// The name in messages and in the specification.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($number => $name,)*
                    _ => "unknown section",
                }
            }
        }
    };
}

section_kinds! {
    /// Row file: which row numbers are present, by page.
    ROW_PAGES = 0x0101, "pages";
    /// Row file: presence bitmaps of pages that are not dense.
    ROW_PAGE_BITMAPS = 0x0102, "page-bitmaps";
    /// Row file: vector records.
    ROW_VECTORS = 0x0103, "vectors";
    /// Row file: sequence numbers; absent if all are equal.
    ROW_SEQS = 0x0104, "seqs";
    /// Row file: numeric ids of a file without vector records. Reserved.
    ROW_U64_IDS = 0x0105, "u64-ids";
    /// Row file: where byte ids end.
    ROW_ID_OFFSETS = 0x0106, "id-offsets";
    /// Row file: byte ids.
    ROW_ID_BYTES = 0x0107, "id-bytes";
    /// Row file: where encoded attributes end.
    ROW_ATTRIBUTE_OFFSETS = 0x0108, "attribute-offsets";
    /// Row file: encoded attributes.
    ROW_ATTRIBUTE_BYTES = 0x0109, "attribute-bytes";
    /// Row file: where payloads end, before compression.
    ROW_PAYLOAD_OFFSETS = 0x010A, "payload-offsets";
    /// Row file: payload blocks.
    ROW_PAYLOAD_BLOCKS = 0x010B, "payload-blocks";
    /// Row file: where payload blocks start.
    ROW_PAYLOAD_TABLE = 0x010C, "payload-table";
    /// Row file: vectors as 8-bit codes relative to a frame. Reserved.
    ROW_CODES = 0x0110, "row-codes";
    /// Row file: single fields that replace those of older rows. Reserved.
    ROW_PATCHES = 0x0111, "patches";
    /// Row file: bitmaps of attribute values, by page. Reserved.
    ROW_VALUE_BITMAPS = 0x0112, "value-bitmaps";

    /// Id table: local page to page.
    ID_PAGES = 0x0201, "pages";
    /// Id table: the first key of each unit of entries.
    ID_FENCES = 0x0202, "fences";
    /// Id table: blocked Bloom filter.
    ID_FILTER = 0x0203, "filter";
    /// Id table: keys and rows.
    ID_ENTRIES = 0x0204, "entries";
    /// Id table: fingerprints and rows, for collections that keep no keys. Reserved.
    ID_FINGERPRINTS = 0x0205, "fingerprints";

    /// Tombstone file: dead rows by page.
    DEAD_PAGES = 0x0301, "pages";
    /// Tombstone file: sorted positions of pages with few dead rows.
    DEAD_ARRAYS = 0x0302, "arrays";
    /// Tombstone file: bitmaps of pages with many.
    DEAD_BITMAPS = 0x0303, "bitmaps";

    /// List segment: local page to page.
    LIST_PAGES = 0x0401, "list-pages";
    /// List segment: one header per list.
    LIST_HEADERS = 0x0402, "list-headers";
    /// List segment: scan parts of all lists.
    LIST_SCAN = 0x0403, "list-scan";
    /// List segment: second-stage records of all lists.
    LIST_RECORDS = 0x0404, "list-records";
    /// List segment: whole vectors inside the lists.
    LIST_RAW = 0x0405, "list-raw";
    /// List segment: checksums of the pieces of lists.
    LIST_CHECKS = 0x0406, "list-checks";

    /// Model: rotation and mean.
    MODEL_FRAME = 0x0501, "frame";
    /// Model: centroids.
    MODEL_CENTROIDS = 0x0502, "centroids";
    /// Model: scan codes of the centroids.
    MODEL_CENTROID_CODES = 0x0503, "centroid-codes";
    /// Model: codebooks. Reserved.
    MODEL_CODEBOOKS = 0x0504, "codebooks";

    /// Sidecar: adjacency of a graph. Reserved.
    SIDECAR_GRAPH = 0x0601, "graph";
}
