//! The stable codes of problems, one page each in `docs/errors/`.

use std::fmt;

use super::Severity;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal $severity:ident;)+) => {
        /// Kinds of problems. A code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// All codes, in order.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The code as text, such as `MR0101`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// How bad problems of this kind are.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }
        }
    };
}

codes! {
    /// A file or folder cannot be read.
    Unreadable = "MR0001" Error;
    /// A file is not YAML.
    Syntax = "MR0002" Error;
    /// A file is larger or deeper than files may be.
    TooLarge = "MR0003" Error;
    /// There is no view.
    NoViews = "MR0004" Warning;
    /// `host.yaml` was named but is not there.
    NoHostFile = "MR0005" Error;

    /// A key that does not exist.
    UnknownKey = "MR0101" Error;
    /// A value of another type than its key takes.
    WrongType = "MR0102" Error;
    /// A key that must be there is not.
    MissingKey = "MR0103" Error;
    /// A key stands twice.
    DuplicateKey = "MR0104" Error;
    /// A document declares nothing, or more than one thing.
    NotOneThing = "MR0105" Error;
    /// A text is not of the form that its key takes.
    BadValue = "MR0106" Error;
    /// A number, size or duration is too small or too large.
    OutOfRange = "MR0107" Error;
    /// Known, but not in this build.
    NotInThisBuild = "MR0108" Error;
    /// Exactly one of several keys must be there.
    ChooseOne = "MR0109" Error;
    /// A list or mapping needs at least one entry.
    Empty = "MR0110" Error;

    /// A name has a character that names may not have.
    BadName = "MR0201" Error;
    /// Two declarations have one name.
    DuplicateName = "MR0202" Error;
    /// A reference to something that is not declared.
    UnknownReference = "MR0203" Error;
    /// A name that the host uses itself.
    ReservedName = "MR0204" Error;
    /// Two columns of a view, or two entries of a list, have one name.
    NameClash = "MR0205" Error;
    /// Views of a service type one join key differently.
    JoinKeysDisagree = "MR0206" Error;

    /// A path leads out of its folder.
    PathOutside = "MR0301" Error;
    /// A file that is named does not exist.
    MissingFile = "MR0302" Error;
    /// An output stream would be written into a file source.
    OutputIsSource = "MR0303" Error;

    /// A text is not a type.
    UnknownType = "MR0401" Error;
    /// A timestamp field is missing or not a timestamp.
    BadTimestampField = "MR0402" Error;
    /// A type that join keys cannot have.
    BadJoinKeyType = "MR0403" Error;
    /// A schema that the format cannot fill.
    BadSchemaForFormat = "MR0404" Error;

    /// An output stream without `online: true`.
    OutputNeedsOnline = "MR0501" Error;
    /// An output stream with aggregations that are not continuous.
    OutputNeedsContinuous = "MR0502" Error;
    /// A Kinesis source without a batch source.
    KinesisNeedsBatch = "MR0503" Error;
    /// More than one topic for an output stream.
    OneTopic = "MR0504" Error;
    /// Aggregates do not fit into version-1 records.
    AggregatesInVersion1 = "MR0505" Error;
    /// `offline: true` stores nothing yet.
    OfflineStoresNothing = "MR0506" Warning;
    /// Nothing uses an entity.
    UnusedEntity = "MR0507" Warning;
    /// No view reads a source.
    UnusedSource = "MR0508" Warning;
    /// An online store for a view without `online: true`.
    StoreNeedsOnline = "MR0509" Error;

    /// The component needs a column that the source does not have.
    InputMissing = "MR0601" Error;
    /// The component takes a column as another type than the source has it.
    InputType = "MR0602" Error;
    /// The component needs a value in every row, the source does not promise one.
    InputNullable = "MR0603" Error;
    /// The component does not produce a column that the view needs.
    OutputMissing = "MR0604" Error;
    /// The component produces a column as another type than the view declares.
    OutputType = "MR0605" Error;
    /// The component produces a column that the view does not use.
    OutputUnused = "MR0606" Warning;
    /// The component has no such parameter.
    UnknownParameter = "MR0607" Error;
    /// A parameter that the component needs is not given.
    MissingParameter = "MR0608" Error;
    /// A parameter is of another kind than the component takes.
    ParameterKind = "MR0609" Error;
    /// The component cannot be loaded, or fails its trial.
    ComponentRefused = "MR0610" Error;

    /// An environment variable is not set.
    UnsetVariable = "MR0701" Error;
    /// A file named by `${file:…}` cannot be read.
    UnreadableSecret = "MR0702" Error;
    /// A `${…}` that is not of any known form.
    BadSubstitution = "MR0703" Error;

    /// A reference to a connection that `host.yaml` does not have.
    UnknownConnection = "MR0801" Error;
    /// A connection of another kind than is needed.
    ConnectionKind = "MR0802" Error;
    /// A secret stands in the file itself.
    LiteralSecret = "MR0803" Error;
    /// A client setting that may not be set here.
    RefusedOption = "MR0804" Error;
    /// A text that cannot be the name of a topic or group.
    BadTopic = "MR0805" Error;
    /// A start that this source cannot have.
    BadStart = "MR0806" Error;
    /// Two sources in one consumer group.
    GroupClash = "MR0807" Error;
    /// A connection, or something that is expected of it, does not work; found by trying.
    ConnectionFails = "MR0808" Error;
    /// Something that is expected of a connection may not be as meant; found by trying.
    ConnectionDoubtful = "MR0809" Warning;
    /// A text that cannot be the name of a stream.
    BadStream = "MR0810" Error;
    /// Settings of a Redis connection that exclude each other.
    RedisModes = "MR0811" Error;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
