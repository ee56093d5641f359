#include "extension/text.h"

namespace chronos::extension {
namespace {

bool is_ascii(const char* text) {
    for (; *text != '\0'; ++text)
        if (IS_HIGHBIT_SET(*text)) return false;
    return true;
}

/// Length of the character that valid UTF-8 begins with; 0 if it does not begin with one.
int utf8_length(const char* text) {
    const int length = pg_encoding_mblen(PG_UTF8, text);
    for (int i = 1; i < length; ++i)
        if (text[i] == '\0') return 0;
    const bool legal = pg_utf8_islegal(reinterpret_cast<const unsigned char*>(text), length);
    return legal ? length : 0;
}

/// Encodings that take the bytes of UTF-8 as they are.
bool takes_utf8(int encoding) {
    return encoding == PG_UTF8 || encoding == PG_SQL_ASCII;
}

Oid conversion(int from, int to) {
    return IsTransactionState() ? FindDefaultConversionProc(from, to) : InvalidOid;
}

/// One character, or '?'.
void append_converted(StringInfo result, Oid procedure, int from, int to, const char* character,
                      int length) {
    char converted[MAX_CONVERSION_GROWTH * MAX_MULTIBYTE_CHAR_LEN + 1];
    char source[MAX_MULTIBYTE_CHAR_LEN + 1];
    memcpy(source, character, static_cast<size_t>(length));
    source[length] = '\0';
    const bool done =
        OidIsValid(procedure) &&
        pg_do_encoding_conversion_buf(procedure, from, to, reinterpret_cast<unsigned char*>(source),
                                      length, reinterpret_cast<unsigned char*>(converted),
                                      sizeof converted, /*noError=*/true) == length;
    appendStringInfoString(result, done ? converted : "?");
}

/// The longest beginning of `utf8`, of at most `limit` bytes, that ends between two characters.
size_t whole_characters(const char* utf8, size_t limit) {
    const size_t size = strnlen(utf8, limit + 1);
    if (size <= limit) return size;
    size_t end = limit;
    // Back over the bytes that continue a character; four in a row continue none.
    while (end > 0 && limit - end < 4 && (static_cast<unsigned char>(utf8[end]) & 0xC0) == 0x80)
        --end;
    return (static_cast<unsigned char>(utf8[end]) & 0xC0) == 0x80 ? limit : end;
}

void append_byte(StringInfo result, const char* format, char byte) {
    appendStringInfoString(result, psprintf(format, static_cast<unsigned char>(byte)));
}

/// `broken` is the format of a byte that is no UTF-8.
const char* into_database(const char* text, const char* broken) {
    if (is_ascii(text)) return text;
    const int encoding = GetDatabaseEncoding();
    if (takes_utf8(encoding) &&
        pg_verify_mbstr(PG_UTF8, text, static_cast<int>(strlen(text)), /*noError=*/true))
        return text;
    const Oid procedure = takes_utf8(encoding) ? InvalidOid : conversion(PG_UTF8, encoding);
    StringInfoData result;
    initStringInfo(&result);
    while (*text != '\0') {
        const int length = utf8_length(text);
        if (length == 0)
            append_byte(&result, broken, *text);
        else if (length == 1 || takes_utf8(encoding))
            appendBinaryStringInfo(&result, text, length);
        else
            append_converted(&result, procedure, PG_UTF8, encoding, text, length);
        text += Max(length, 1);
    }
    return result.data;
}

}  // namespace

const char* database_text(const char* text) {
    return into_database(text, "\\x%02x");
}

const char* database_json(const char* text) {
    return into_database(text, "?");
}

Datum text_datum(const char* text) {
    return CStringGetTextDatum(database_text(text));
}

const char* utf8_text(const char* text) {
    const int encoding = GetDatabaseEncoding();
    if (takes_utf8(encoding) || is_ascii(text) ||
        !pg_verify_mbstr(encoding, text, static_cast<int>(strlen(text)), /*noError=*/true))
        return text;
    const Oid procedure = conversion(encoding, PG_UTF8);
    StringInfoData result;
    initStringInfo(&result);
    while (*text != '\0') {
        const int length = pg_encoding_mblen(encoding, text);
        if (length == 1 && !IS_HIGHBIT_SET(*text))
            appendStringInfoChar(&result, *text);
        else
            append_converted(&result, procedure, encoding, PG_UTF8, text, length);
        text += length;
    }
    return result.data;
}

void clip_utf8(char* target, Size size, const char* utf8) {
    const size_t kept = whole_characters(utf8, size - 1);
    memcpy(target, utf8, kept);
    target[kept] = '\0';
}

void copy_clipped(char* target, Size size, const char* text) {
    clip_utf8(target, size, utf8_text(text));
}

const char* log_text(const char* utf8) {
    StringInfoData result;
    initStringInfo(&result);
    while (*utf8 != '\0') {
        const int length = Max(utf8_length(utf8), 1);
        const auto first = static_cast<unsigned char>(utf8[0]);
        const bool is_c1 =
            length == 2 && first == 0xC2 && static_cast<unsigned char>(utf8[1]) < 0xA0;
        if (first < 0x20 || first == 0x7F || is_c1)
            appendStringInfoChar(&result, '?');
        else
            appendBinaryStringInfo(&result, utf8, length);
        utf8 += length;
    }
    return result.data;
}

}  // namespace chronos::extension
