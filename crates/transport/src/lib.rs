//! The peer protocol: codecs, streams and connections between members.
