#include "chronos/ops/browse/browse.h"

#include <regex.h>

#include <algorithm>
#include <array>

#include "chronos/base/text.h"
#include "chronos/repo/encoding.h"
#include "chronos/repo/info.h"

namespace chronos::ops::browse {
namespace {

using storage::Entry;
using storage::EntryType;

class Pattern {
public:
    explicit Pattern(const std::string& text)
        : status_(regcomp(&regex_, text.c_str(), REG_EXTENDED | REG_NOSUB)) {}
    ~Pattern() {
        if (status_ == 0) regfree(&regex_);
    }
    Pattern(const Pattern&) = delete;
    Pattern& operator=(const Pattern&) = delete;

    Result<> check() const {
        if (status_ == 0) return {};
        std::array<char, 256> text{};
        regerror(status_, &regex_, text.data(), text.size());
        return Error(ErrorKind::format, text.data());
    }
    bool matches(const std::string& text) const {
        return regexec(&regex_, text.c_str(), 0, nullptr, 0) == 0;
    }

private:
    regex_t regex_ = {};
    int status_;
};

/// The name in the storage.
Result<std::string> object_name(const Place& place) {
    std::string path = place.path;
    if (path.find("//") != std::string::npos)
        return Error(ErrorKind::param_invalid, "path '" + printable(path) + "' cannot contain //");
    if (path.starts_with('/')) {
        const std::string root = place.root == "/" ? "" : place.root;
        if (path != root && !path.starts_with(root + "/"))
            return Error(
                ErrorKind::param_invalid,
                "absolute path '" + printable(path) + "' is not in base path '" + place.root + "'");
        path.erase(0, std::min(path.size(), root.size() + 1));
    }
    while (path.ends_with('/')) path.pop_back();
    if (!path.empty() && !storage::is_object_name(path))
        return Error(ErrorKind::param_invalid,
                     "path '" + printable(path) + "' leads out of the repository");
    return path;
}

class Lister {
public:
    Lister(const ListRequest& request, std::string root)
        : request_(request), storage_(*request.place.repository.storage), root_(std::move(root)) {}

    Result<std::vector<Entry>> run() {
        const auto self = CHRONOS_TRY(storage_.info(root_));
        Entry top;
        top.type = EntryType::path;
        if (self && self->type != EntryType::path && self->type != EntryType::link) top = *self;
        top.name = ".";
        entries_.push_back(top);
        if (top.type == EntryType::path) CHRONOS_TRY(list_below(""));
        if (request_.order == Order::descending) std::reverse(entries_.begin() + 1, entries_.end());
        return std::move(entries_);
    }

private:
    Result<> list_below(const std::string& relative) {
        const std::string below =
            relative.empty() || root_.empty() ? root_ + relative : root_ + "/" + relative;
        for (Entry& entry : CHRONOS_TRY(storage_.list(below))) {
            if (!relative.empty()) entry.name = relative + "/" + entry.name;
            const std::string name = entry.name;
            const bool descend = request_.recurse && entry.type == EntryType::path;
            entries_.push_back(std::move(entry));
            if (descend) CHRONOS_TRY(list_below(name));
        }
        return {};
    }

    const ListRequest& request_;
    storage::Storage& storage_;
    const std::string root_;
    std::vector<Entry> entries_;
};

Error no_passphrase(const std::string& name) {
    return Error(ErrorKind::option_invalid_value,
                 "unable to determine cipher passphrase for '" + printable(name) + "'");
}

bool is_info(std::string_view file, std::string_view name) {
    return file == name || file == std::string(name) + ".copy";
}

/// Of an object in an encrypted repository.
Result<std::string> passphrase_for(const repo::Repository& repository, const std::string& name) {
    const std::vector<std::string_view> parts = split(name, '/');
    if (parts.size() < 3) return no_passphrase(name);
    const std::string stanza(parts[1]);
    const std::string_view file = parts.back();
    if (parts[0] == "archive") {
        if (parts.size() == 3 && is_info(file, "archive.info")) return repository.passphrase;
        return CHRONOS_TRY(repo::load_archive_info(repository, stanza)).cipher_pass;
    }
    if (parts[0] != "backup" && parts[0] != "chronos") return no_passphrase(name);
    if (parts.size() == 3 && is_info(file, "backup.info")) return repository.passphrase;
    const std::string backup_pass =
        CHRONOS_TRY(repo::load_backup_info(repository, stanza)).cipher_pass;
    const std::string label(parts[2]);
    if (parts[0] == "chronos" || label == "backup.history" ||
        (parts.size() == 4 && is_info(file, "backup.manifest")))
        return backup_pass;
    return CHRONOS_TRY(repo::load_manifest(repository, stanza, label, backup_pass)).cipher_pass;
}

}  // namespace

Result<std::vector<Entry>> list(const ListRequest& request) {
    const std::string root = CHRONOS_TRY(object_name(request.place));
    std::optional<Pattern> pattern;
    if (request.filter) CHRONOS_TRY(pattern.emplace(*request.filter).check());
    std::vector<Entry> entries = CHRONOS_TRY(Lister(request, root).run());
    if (pattern)
        std::erase_if(entries, [&](const Entry& entry) { return !pattern->matches(entry.name); });
    return entries;
}

Result<> get(const Place& place, bool raw, io::Sink& sink) {
    const repo::Repository& repository = place.repository;
    const std::string name = CHRONOS_TRY(object_name(place));
    if (name.empty()) return Error(ErrorKind::param_required, "source file required");
    const bool decrypt = repository.encrypted() && !raw;
    const std::string pass =
        decrypt ? CHRONOS_TRY(passphrase_for(repository, name)) : std::string();
    auto source = repository.storage->open(name);
    if (!source && source.error().kind() == ErrorKind::not_found)
        return Error(ErrorKind::not_found, "unable to open missing file '" +
                                               repository.storage->describe(name) + "' for read");
    if (!source) return std::move(source).error();
    if (!decrypt) {
        CHRONOS_TRY(io::copy(**source, sink));
        return {};
    }
    repo::Decoder decryptor({.passphrase = crypto::Passphrase(pass)}, sink);
    CHRONOS_TRY_DOING(io::copy(**source, decryptor),
                      "decrypt '" + repository.storage->describe(name) + "'");
    return {};
}

}  // namespace chronos::ops::browse
