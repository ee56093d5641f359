#include "chronos/repo/outside_config.h"

#include <algorithm>
#include <filesystem>

#include "chronos/base/text.h"
#include "chronos/pgdata/server_config.h"
#include "chronos/repo/proven_text.h"

namespace chronos::repo {
namespace {

namespace fs = std::filesystem;

/// Of the format below: a heading, then a line "<kind> <bytes of path> <bytes of content>" for each
/// item, followed by both and a line feed. So any bytes can stand in either.
constexpr std::string_view kHeading = "chronos outside configuration 1\n";

std::string config_path(const std::string& stanza) {
    return "chronos/" + stanza + "/config";
}

std::string item(std::string_view kind, const std::string& path, const std::string& content) {
    return std::string(kind) + " " + std::to_string(path.size()) + " " +
           std::to_string(content.size()) + "\n" + path + content + "\n";
}

Error bad_format() {
    return Error(ErrorKind::format, "the configuration kept beside the backup is damaged");
}

bool is_inside(const std::string& path, const std::string& pgdata) {
    std::error_code code;
    const fs::path real = fs::weakly_canonical(path, code);
    const fs::path root = fs::weakly_canonical(pgdata, code);
    return std::mismatch(root.begin(), root.end(), real.begin(), real.end()).first == root.end();
}

}  // namespace

const OutsideFile* OutsideConfig::find(const std::string& path) const {
    const auto found = std::ranges::find(files, path, &OutsideFile::path);
    return found == files.end() ? nullptr : &*found;
}

OutsideConfig find_outside_config(const ServerFiles& server, const std::string& pgdata,
                                  std::vector<std::string>& unread) {
    const pgdata::ConfigSource source = pgdata::local_config_source();
    std::vector<std::string> paths;
    if (!server.config_file.empty())
        paths =
            pgdata::read_server_config(server.config_file, pgdata + "/postgresql.auto.conf", source)
                .files;
    for (const ServerFileSetting& setting : kServerFileSettings)
        if (setting.path != &ServerFiles::config_file && !(server.*setting.path).empty())
            paths.push_back(server.*setting.path);
    OutsideConfig config;
    for (const std::string& given : paths) {
        const std::string path = fs::path(given).lexically_normal().string();
        if (is_inside(path, pgdata) || config.find(path) != nullptr) continue;
        auto content = source.read(path);
        if (!content || !*content) {
            unread.push_back(path);
            continue;
        }
        config.files.push_back({path, std::move(**content)});
        for (const ServerFileSetting& setting : kServerFileSettings)
            if (given == server.*setting.path) config.server.*setting.path = path;
    }
    return config;
}

std::string format_outside_config(const OutsideConfig& config) {
    std::string text(kHeading);
    for (const ServerFileSetting& setting : kServerFileSettings)
        text += item(setting.name, config.server.*setting.path, "");
    for (const OutsideFile& file : config.files) text += item("file", file.path, file.content);
    return text;
}

Result<OutsideConfig> parse_outside_config(std::string_view text) {
    if (!text.starts_with(kHeading)) return bad_format();
    text.remove_prefix(kHeading.size());
    OutsideConfig config;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        if (end == std::string_view::npos) return bad_format();
        const auto words = split(text.substr(0, end), ' ');
        text.remove_prefix(end + 1);
        if (words.size() != 3) return bad_format();
        const auto path_size = parse_uint(words[1]);
        const auto content_size = parse_uint(words[2]);
        if (!path_size || !content_size || *path_size >= text.size() ||
            *content_size >= text.size() - *path_size || text[*path_size + *content_size] != '\n')
            return bad_format();
        std::string path(text.substr(0, *path_size));
        std::string content(text.substr(*path_size, *content_size));
        text.remove_prefix(*path_size + *content_size + 1);
        const auto setting =
            std::ranges::find(kServerFileSettings, words[0], &ServerFileSetting::name);
        if (setting != kServerFileSettings.end())
            config.server.*setting->path = std::move(path);
        else if (words[0] == "file")
            config.files.push_back({std::move(path), std::move(content)});
    }
    return config;
}

Result<> save_outside_config(const Repository& repository, const std::string& stanza,
                             const std::string& label, const OutsideConfig& config,
                             const std::string& pass) {
    return write_text(repository, config_path(stanza) + "/" + label, format_outside_config(config),
                      pass, reads_back_as(config, parse_outside_config));
}

Result<OutsideConfig> load_outside_config(const Repository& repository, const std::string& stanza,
                                          const std::string& label, const std::string& pass) {
    const std::string object = config_path(stanza) + "/" + label;
    const auto text = read_text(repository, object, pass);
    if (!text && text.error().kind() == ErrorKind::not_found) return OutsideConfig{};
    if (!text) return text.error();
    auto config = parse_outside_config(*text);
    if (config) return config;
    return std::move(config).error().while_doing("read '" + repository.storage->describe(object) +
                                                 "'");
}

Result<> remove_outside_configs(const Repository& repository, const std::string& stanza,
                                const std::vector<std::string>& labels) {
    for (const storage::Entry& entry : CHRONOS_TRY(repository.storage->list(config_path(stanza))))
        if (is_backup_label(entry.name) && std::ranges::find(labels, entry.name) == labels.end())
            CHRONOS_TRY(repository.storage->remove(config_path(stanza) + "/" + entry.name));
    return {};
}

}  // namespace chronos::repo
