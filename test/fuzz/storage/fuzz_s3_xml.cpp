// What a server, or somebody in between, answers: any text may come.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "storage/s3/xml.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace chronos::storage::s3;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    (void)parse_list_page(text);
    (void)parse_upload_page(text);
    (void)parse_error(text);
    (void)parse_delete_errors(text);
    (void)find_text(text, "Key");
    (void)parse_iso_time(text);
    return 0;
}
