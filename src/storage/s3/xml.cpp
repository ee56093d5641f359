#include "storage/s3/xml.h"

#include <libxml/SAX2.h>
#include <libxml/parser.h>

#include <functional>
#include <memory>

#include "chronos/base/text.h"

namespace chronos::storage::s3 {
namespace {

/// Longer text than any key (1024 bytes, escaped) or token is refused: memory stays bounded.
constexpr std::size_t kTextMax = std::size_t{64} * 1024;

/// Called at the end of each element with its path ("ListBucketResult/Contents/Key") and text, and
/// at the start with `ended` false.
using ElementHandler =
    std::function<void(const std::string& path, const std::string& text, bool ended)>;

struct Walk {
    const ElementHandler& handler;
    std::string path;
    std::string text;
    xmlParserCtxt* parser = nullptr;
    bool refused = false;
};

void on_start(void* context, const xmlChar* name, const xmlChar*, const xmlChar*, int,
              const xmlChar**, int, int, const xmlChar**) {
    auto& walk = *static_cast<Walk*>(context);
    if (!walk.path.empty()) walk.path += '/';
    walk.path += reinterpret_cast<const char*>(name);
    walk.text.clear();
    walk.handler(walk.path, walk.text, false);
}

void on_end(void* context, const xmlChar*, const xmlChar*, const xmlChar*) {
    auto& walk = *static_cast<Walk*>(context);
    walk.handler(walk.path, walk.text, true);
    const std::size_t slash = walk.path.rfind('/');
    walk.path.resize(slash == std::string::npos ? 0 : slash);
    walk.text.clear();
}

/// No answer of S3 has a document type, and what one can declare is only good for mischief.
void on_document_type(void* context, const xmlChar*, const xmlChar*, const xmlChar*) {
    auto& walk = *static_cast<Walk*>(context);
    walk.refused = true;
    xmlStopParser(walk.parser);
}

void on_text(void* context, const xmlChar* data, int length) {
    auto& walk = *static_cast<Walk*>(context);
    if (walk.text.size() + static_cast<std::size_t>(length) > kTextMax) {
        walk.refused = true;
        xmlStopParser(walk.parser);
        return;
    }
    walk.text.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(length));
}

/// Parses without document type, network or error output. False if it is not XML.
bool walk_xml(std::string_view xml, const ElementHandler& handler) {
    Walk walk{handler, {}, {}};
    xmlSAXHandler sax{};
    sax.initialized = XML_SAX2_MAGIC;
    sax.internalSubset = on_document_type;
    sax.startElementNs = on_start;
    sax.endElementNs = on_end;
    sax.characters = on_text;
    sax.cdataBlock = on_text;
    struct Free {
        void operator()(xmlParserCtxt* parser) const noexcept { xmlFreeParserCtxt(parser); }
    };
    const std::unique_ptr<xmlParserCtxt, Free> parser(
        xmlCreatePushParserCtxt(&sax, &walk, nullptr, 0, nullptr));
    walk.parser = parser.get();
    xmlCtxtUseOptions(parser.get(), XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    const int code = xmlParseChunk(parser.get(), xml.data(), static_cast<int>(xml.size()), 1);
    return code == 0 && parser->wellFormed != 0 && !walk.refused;
}

std::string_view last_of(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string_view parent_of(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? std::string_view() : last_of(path.substr(0, slash));
}

Error not_xml(const char* what) {
    return Error(ErrorKind::service,
                 std::string("answer to ") + what + " is not the XML it should be")
        .as_transient();
}

std::optional<ListedItem::Kind> item_kind(std::string_view element) {
    if (element == "Contents") return ListedItem::Kind::object;
    if (element == "CommonPrefixes") return ListedItem::Kind::prefix;
    if (element == "Version") return ListedItem::Kind::version;
    if (element == "DeleteMarker") return ListedItem::Kind::delete_marker;
    return std::nullopt;
}

void take_item_field(ListedItem& item, std::string_view field, const std::string& text) {
    if (field == "Key" || field == "Prefix") item.key = text;
    if (field == "Size") item.size = parse_uint(trim(text)).value_or(0);
    if (field == "LastModified") item.modified = parse_iso_time(trim(text));
    if (field == "VersionId") item.version_id = text;
    if (field == "StorageClass") item.storage_class = text;
}

void take_page_field(ListPage& page, std::string_view field, const std::string& text) {
    if (field == "IsTruncated") page.truncated = trim(text) == "true";
    if (field == "NextContinuationToken") page.continuation_token = text;
    if (field == "NextKeyMarker") page.next_key_marker = text;
    if (field == "NextVersionIdMarker") page.next_version_marker = text;
}

void take_error_field(ErrorDocument& error, std::string_view field, const std::string& text) {
    if (field == "Code") error.code = printable(text, 64);
    if (field == "Message") error.message = printable(text);
    if (field == "RequestId") error.request_id = printable(text, 128);
    if (field == "Key") error.key = text;
    if (field == "Region") error.region = printable(text, 64);
}

}  // namespace

UnixTime parse_iso_time(std::string_view text) {
    return parse_time_us(text).value_or(0) / 1000000;
}

std::string escape_xml(std::string_view text) {
    std::string result;
    for (const char c : text) {
        if (c == '&')
            result += "&amp;";
        else if (c == '<')
            result += "&lt;";
        else if (c == '>')
            result += "&gt;";
        else if (c == '\r')
            result += "&#13;";
        else
            result += c;
    }
    return result;
}

Result<ListPage> parse_list_page(std::string_view xml) {
    ListPage page;
    bool root_seen = false;
    const auto handler = [&](const std::string& path, const std::string& text, bool ended) {
        const std::string_view element = last_of(path);
        const std::string_view parent = parent_of(path);
        if (path == "ListBucketResult" || path == "ListVersionsResult") root_seen = true;
        if (!ended) {
            if (const auto kind = item_kind(element)) {
                page.items.emplace_back();
                page.items.back().kind = *kind;
            }
        } else if (item_kind(parent) && !page.items.empty()) {
            take_item_field(page.items.back(), element, text);
        } else if (parent == "ListBucketResult" || parent == "ListVersionsResult") {
            take_page_field(page, element, text);
        }
    };
    if (!walk_xml(xml, handler) || !root_seen) return not_xml("a listing");
    return page;
}

Result<UploadPage> parse_upload_page(std::string_view xml) {
    UploadPage page;
    bool root_seen = false;
    const auto handler = [&](const std::string& path, const std::string& text, bool ended) {
        const std::string_view element = last_of(path);
        if (path == "ListMultipartUploadsResult") root_seen = true;
        if (!ended) {
            if (path == "ListMultipartUploadsResult/Upload") page.items.emplace_back();
            return;
        }
        if (parent_of(path) == "Upload" && !page.items.empty()) {
            if (element == "Key") page.items.back().key = text;
            if (element == "UploadId") page.items.back().upload_id = text;
            if (element == "Initiated") page.items.back().initiated = parse_iso_time(trim(text));
        }
        if (element == "IsTruncated") page.truncated = trim(text) == "true";
        if (element == "NextKeyMarker") page.next_key_marker = text;
        if (element == "NextUploadIdMarker") page.next_upload_id_marker = text;
    };
    if (!walk_xml(xml, handler) || !root_seen) return not_xml("a listing of uploads");
    return page;
}

std::optional<ErrorDocument> parse_error(std::string_view xml) {
    ErrorDocument error;
    bool root_seen = false;
    const auto handler = [&](const std::string& path, const std::string& text, bool ended) {
        if (path == "Error") root_seen = true;
        if (ended && parent_of(path) == "Error") take_error_field(error, last_of(path), text);
    };
    if (xml.empty() || !walk_xml(xml, handler) || !root_seen) return std::nullopt;
    return error;
}

Result<std::vector<ErrorDocument>> parse_delete_errors(std::string_view xml) {
    std::vector<ErrorDocument> errors;
    bool root_seen = false;
    const auto handler = [&](const std::string& path, const std::string& text, bool ended) {
        if (path == "DeleteResult") root_seen = true;
        if (!ended && path == "DeleteResult/Error") errors.emplace_back();
        if (ended && parent_of(path) == "Error" && !errors.empty())
            take_error_field(errors.back(), last_of(path), text);
    };
    // Quiet mode: an empty answer says that all went well on servers that send none.
    if (trim(xml).empty()) return errors;
    if (!walk_xml(xml, handler) || !root_seen) return not_xml("a multi-object delete");
    return errors;
}

std::optional<std::string> find_text(std::string_view xml, std::string_view element) {
    std::optional<std::string> found;
    const auto handler = [&](const std::string& path, const std::string& text, bool ended) {
        if (ended && !found && last_of(path) == element) found = text;
    };
    if (!walk_xml(xml, handler)) return std::nullopt;
    return found;
}

}  // namespace chronos::storage::s3
