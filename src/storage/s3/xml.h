#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/base/result.h"

namespace chronos::storage::s3 {

/// An object, a common prefix, a version or a delete marker in a listing.
struct ListedItem {
    enum class Kind { object, prefix, version, delete_marker };
    Kind kind = Kind::object;
    std::string key;
    std::uint64_t size = 0;
    UnixTime modified = 0;
    std::string version_id;
    std::string storage_class;
};

/// A page of ListObjectsV2 or ListObjectVersions, items in document order.
struct ListPage {
    std::vector<ListedItem> items;
    bool truncated = false;
    std::string continuation_token;
    std::string next_key_marker;
    std::string next_version_marker;
};
Result<ListPage> parse_list_page(std::string_view xml);

struct UploadPage {
    struct Item {
        std::string key;
        std::string upload_id;
        UnixTime initiated = 0;
    };
    std::vector<Item> items;
    bool truncated = false;
    std::string next_key_marker;
    std::string next_upload_id_marker;
};
Result<UploadPage> parse_upload_page(std::string_view xml);

/// <Error> of an answer, or of an item in the answer to a multi-object delete.
struct ErrorDocument {
    std::string code;
    std::string message;
    std::string request_id;
    std::string key;
    std::string region;  ///< of the bucket, where the request named another
};
/// nullopt if the text is not XML with an <Error> as its root.
std::optional<ErrorDocument> parse_error(std::string_view xml);
/// The <Error> elements inside a <DeleteResult>.
Result<std::vector<ErrorDocument>> parse_delete_errors(std::string_view xml);

/// The text of the first element of that name at any depth; nullopt if there is none or the text
/// is not XML.
std::optional<std::string> find_text(std::string_view xml, std::string_view element);

std::string escape_xml(std::string_view text);

/// "2026-11-20T08:14:56.000Z"
UnixTime parse_iso_time(std::string_view text);

}  // namespace chronos::storage::s3
