#include "chronos/pgdata/data_directory.h"

#include <filesystem>

namespace chronos::pgdata {
namespace {

namespace fs = std::filesystem;

fs::path real_path(const std::string& path) {
    std::error_code failure;
    const fs::path absolute = fs::absolute(path, failure);
    fs::path real = fs::weakly_canonical(absolute, failure);
    return failure ? absolute.lexically_normal() : real;
}

bool is_data_directory(const fs::path& directory) {
    std::error_code unknown;
    return fs::is_regular_file(directory / "PG_VERSION", unknown) &&
           fs::is_regular_file(directory / "global/pg_control", unknown);
}

}  // namespace

std::string data_directory_around(const std::string& path) {
    if (path.empty()) return "";
    for (fs::path at = real_path(path);; at = at.parent_path()) {
        if (is_data_directory(at)) return at.string();
        if (at == at.parent_path()) return "";
    }
}

}  // namespace chronos::pgdata
