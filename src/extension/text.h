#pragma once

#include "extension/postgres_api.h"

namespace chronos::extension {

/// Text outside of SQL - what an engine says and is told, and all that lies in shared memory, which
/// backends of every database read - is UTF-8, or bytes where nothing better is known: a file name
/// in an error is whatever it is. Text inside of SQL is valid in the encoding of its database, or
/// its dump cannot be restored. These functions are the border; what crosses it elsewhere is a
/// mistake.
///
/// Encodings are converted inside a transaction only. Outside of one, characters that the two
/// encodings do not write alike become '?'.

/// As text of this database. Bytes that are not UTF-8 become "\xNN", characters that the database's
/// encoding does not have '?'. Returns `text` itself where nothing is to be changed.
const char* database_text(const char* text);

/// The same of JSON, in which a byte that is no UTF-8 becomes '?'.
const char* database_json(const char* text);

/// database_text() as a datum of type text.
Datum text_datum(const char* text);

/// Text of this database as UTF-8. Returns `text` itself where nothing is to be changed; what is
/// not valid in the database's encoding stays as it is.
const char* utf8_text(const char* text);

/// strlcpy() of UTF-8 that cuts between characters, not within one. Safe anywhere.
void clip_utf8(char* target, Size size, const char* utf8);

/// clip_utf8() of text of this database. Not under a lock: the conversion may raise.
void copy_clipped(char* target, Size size, const char* text);

/// UTF-8 for a line of the server log: a control character becomes '?', for a name may have any.
const char* log_text(const char* utf8);

}  // namespace chronos::extension
