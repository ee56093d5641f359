// Files that a server reads and people write: postgresql.conf with what it includes, pg_hba.conf
// and pg_ident.conf. They may include each other as they like; whoever reads them comes to an end,
// and what we quote for a server is read as what was meant.
#include <map>

#include "chronos/base/quote.h"
#include "chronos/pgdata/auth_config.h"
#include "chronos/pgdata/server_config.h"
#include "fuzz.h"

namespace {

using namespace chronos;
using namespace chronos::pgdata;

constexpr const char* kDirectory = "/c/";

}  // namespace

/// Up to five files, "/c/a" to "/c/e", with a NUL byte between two.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    std::map<std::string, std::string> files;
    std::string_view rest = input;
    for (char name = 'a'; name <= 'e' && !rest.empty(); ++name) {
        const std::size_t end = std::min(rest.find('\0'), rest.size());
        files[std::string(kDirectory) + name] = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    std::size_t reads = 0;
    ConfigSource source;
    source.read = [&](const std::string& path) -> Result<std::optional<std::string>> {
        // Ten deep, and so often as the lines say; the server does not count either.
        if (++reads > 2000) return Error(ErrorKind::file_open, "enough");
        const auto found = files.find(path);
        if (found == files.end()) return std::optional<std::string>();
        return std::optional(found->second);
    };
    source.list = [&](const std::string& path) -> Result<std::optional<std::vector<std::string>>> {
        std::vector<std::string> names;
        for (const auto& [name, content] : files)
            names.push_back(name.substr(std::string_view(kDirectory).size()) + ".conf");
        if (path.find('c') == std::string::npos) return std::optional<std::vector<std::string>>();
        return std::optional(std::move(names));
    };
    const ServerConfig config = read_server_config("/c/a", "/c/b", source);
    for (const ConfigSetting& setting : config.settings) {
        require(config.find(setting.name) != nullptr);
        parse_config_int(setting.value);
        parse_config_bool(setting.value);
    }
    reads = 0;
    read_auth_files("/c/a", source);
    for (const AuthLine& line : parse_auth_lines(input)) require(!line.empty());
    parse_config_value(input);
    parse_config_int(input);
    parse_config_bool(input);
    is_included_name(input);
    if (!is_quotable(input)) return 0;
    const std::string literal = "'" + conf_value(input) + "'";
    require(parse_config_value(literal) == input);
    files = {{"/c/a", "a." + std::string("b = ") + literal + " # comment\n"}};
    const ServerConfig written = read_server_config("/c/a", "", source);
    require(written.problems.empty() && written.value_of("A.B", "none") == input);
    return 0;
}
