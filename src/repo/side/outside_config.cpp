#include "chronos/repo/side/outside_config.h"

#include <algorithm>
#include <filesystem>

#include "chronos/base/text.h"
#include "chronos/pgdata/auth_config.h"
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

std::string normal(const std::string& path) {
    std::string text = fs::path(path).lexically_normal().string();
    if (text.size() > 1 && text.ends_with('/')) text.pop_back();
    return text;
}

bool contains(const std::vector<std::string>& paths, const std::string& path) {
    return std::ranges::find(paths, path) != paths.end();
}

/// What the kept files include, outside of the data directory that they name.
std::vector<std::string> included_directories(const OutsideConfig& config) {
    std::vector<std::string> found;
    pgdata::ConfigSource source = kept_config_source(config);
    source.list = [&, list = source.list](const std::string& path) {
        if (!contains(found, normal(path))) found.push_back(normal(path));
        return list(path);
    };
    std::string pgdata;
    for (const OutsideFile& file : config.files)
        pgdata =
            pgdata::read_server_config(file.path, "", source).value_of("data_directory", pgdata);
    std::erase_if(found, [&](const std::string& path) {
        return !path.starts_with('/') ||
               (!pgdata.empty() && (path + "/").starts_with(pgdata + "/"));
    });
    return found;
}

}  // namespace

const OutsideFile* OutsideConfig::find(const std::string& path) const {
    const auto found = std::ranges::find(files, path, &OutsideFile::path);
    return found == files.end() ? nullptr : &*found;
}

OutsideConfig find_outside_config(const ServerFiles& server, const std::string& pgdata,
                                  std::vector<std::string>& unread) {
    const pgdata::ConfigSource local = pgdata::local_config_source();
    OutsideConfig config;
    const auto is_known = [&](const std::string& path) {
        return config.find(path) != nullptr || contains(unread, path) ||
               contains(config.directories, path);
    };
    // What a reader asks for is what the server reads.
    const auto keep = [&](const std::string& given, auto answer, const auto& add) {
        const std::string path = normal(given);
        if (is_inside(path, pgdata) || is_known(path)) return answer;
        if (!answer)
            unread.push_back(path);
        else if (*answer)
            add(path, **answer);
        return answer;
    };
    pgdata::ConfigSource keeping;
    keeping.read = [&](const std::string& given) {
        return keep(given, local.read(given), [&](const std::string& path, const auto& content) {
            config.files.push_back({path, content});
        });
    };
    keeping.list = [&](const std::string& given) {
        return keep(given, local.list(given), [&](const std::string& path, const auto&) {
            config.directories.push_back(path);
        });
    };
    if (!server.config_file.empty())
        pgdata::read_server_config(server.config_file, pgdata + "/postgresql.auto.conf", keeping);
    for (const ServerFileSetting& setting : kServerFileSettings) {
        const std::string& given = server.*setting.path;
        if (given.empty()) continue;
        if (setting.path != &ServerFiles::config_file) pgdata::read_auth_files(given, keeping);
        const std::string path = normal(given);
        if (config.find(path) != nullptr)
            config.server.*setting.path = path;
        else if (!is_inside(path, pgdata) && !is_known(path))
            unread.push_back(path);
    }
    return config;
}

pgdata::ConfigSource kept_config_source(const OutsideConfig& config) {
    pgdata::ConfigSource source;
    source.read = [&config](const std::string& path) -> Result<std::optional<std::string>> {
        const OutsideFile* file = config.find(normal(path));
        return file == nullptr ? std::nullopt : std::optional(file->content);
    };
    source.list =
        [&config](const std::string& path) -> Result<std::optional<std::vector<std::string>>> {
        const std::string parent = normal(path) + "/";
        std::vector<std::string> names;
        for (const OutsideFile& file : config.files)
            if (file.path.starts_with(parent) &&
                file.path.find('/', parent.size()) == std::string::npos)
                names.push_back(file.path.substr(parent.size()));
        if (names.empty() && !contains(config.directories, normal(path)))
            return std::optional<std::vector<std::string>>{};
        return std::optional(std::move(names));
    };
    return source;
}

std::string format_outside_config(const OutsideConfig& config) {
    std::string text(kHeading);
    for (const ServerFileSetting& setting : kServerFileSettings)
        text += item(setting.name, config.server.*setting.path, "");
    for (const OutsideFile& file : config.files) text += item("file", file.path, file.content);
    for (const std::string& path : config.directories) text += item("directory", path, "");
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
        else if (words[0] == "directory")
            config.directories.push_back(std::move(path));
    }
    return config;
}

Result<> save_outside_config(const Repository& repository, const std::string& stanza,
                             const std::string& label, const OutsideConfig& config,
                             const std::string& pass) {
    return write_text(repository, config_path(stanza) + "/" + label, format_outside_config(config),
                      pass, reads_back_as(config, parse_outside_config));
}

std::string outside_config_name(const std::string& stanza, const std::string& label) {
    return config_path(stanza) + "/" + label;
}

Result<OutsideConfig> load_outside_config(const Repository& repository, const std::string& stanza,
                                          const std::string& label, const std::string& pass) {
    const std::string object = outside_config_name(stanza, label);
    const auto text = read_text(repository, object, pass);
    if (!text && text.error().kind() == ErrorKind::not_found) return OutsideConfig{};
    if (!text) return text.error();
    auto config = parse_outside_config(*text);
    if (config && config->directories.empty()) config->directories = included_directories(*config);
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
