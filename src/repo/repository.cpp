#include "chronos/repo/repository.h"

#include <algorithm>

#include "chronos/base/text.h"

namespace chronos::repo {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// "20261120-075745F": date and time, then one of `types`.
bool is_label_part(std::string_view text, std::string_view types) {
    return text.size() == 16 && text[8] == '-' && types.find(text[15]) != std::string_view::npos &&
           std::all_of(text.begin(), text.begin() + 8, is_digit) &&
           std::all_of(text.begin() + 9, text.begin() + 15, is_digit);
}

constexpr std::string_view kCipherMagic = "Salted__";
constexpr std::size_t kTextSizeMax = std::size_t{1} << 30;

std::string option_name(const Repository& repository, std::string_view option) {
    return "repo" + std::to_string(repository.key) + "-" + std::string(option);
}

Error missing_passphrase(const Repository& repository, const std::string& name) {
    return Error(ErrorKind::crypto, "'" + repository.storage->describe(name) +
                                        "' is encrypted but " +
                                        option_name(repository, "cipher-type") + " is none")
        .with_hint("Set " + option_name(repository, "cipher-type") + "=aes-256-cbc and " +
                   option_name(repository, "cipher-pass") +
                   " to the passphrase that the repository was created with.");
}

Error superfluous_passphrase(const Repository& repository, const std::string& name) {
    return Error(ErrorKind::crypto, "'" + repository.storage->describe(name) +
                                        "' is not encrypted but " +
                                        option_name(repository, "cipher-type") + " is " +
                                        std::string(crypto::cipher_type_name(repository.cipher)))
        .with_hint("Remove " + option_name(repository, "cipher-type") + " and " +
                   option_name(repository, "cipher-pass") +
                   " if the repository was created without encryption.");
}

/// Nothing if the text may be read as this repository is configured.
Result<> check_encryption(const Repository& repository, const std::string& name,
                          std::string_view beginning, bool decrypts) {
    const bool salted = beginning.starts_with(kCipherMagic);
    if (!decrypts && salted) return missing_passphrase(repository, name);
    // Text of the format begins with a section: anything else is damage, not plain text.
    if (decrypts && !salted && beginning.starts_with('['))
        return superfluous_passphrase(repository, name);
    return {};
}

}  // namespace

Error wrong_passphrase(const Repository& repository, const std::string& name,
                       const std::string& pass) {
    Error error(ErrorKind::crypto, "unable to decrypt '" + repository.storage->describe(name) +
                                       "': wrong passphrase or damaged content");
    if (pass != repository.passphrase)
        return std::move(error).with_hint(
            "The passphrase for it is kept in backup.info: does the file belong to this stanza?");
    return std::move(error).with_hint(
        "Check " + option_name(repository, "cipher-pass") +
        ": it must be the passphrase that the repository was created with.");
}

Result<> read_text_into(const Repository& repository, const std::string& name,
                        const std::string& pass, io::Sink& sink) {
    const bool decrypts = repository.encrypted() && !pass.empty();
    const auto source = CHRONOS_TRY(repository.storage->open(name));
    std::vector<std::byte> buffer(io::kBufferSize);
    std::size_t count = CHRONOS_TRY(io::read_full(*source, buffer));
    CHRONOS_TRY(check_encryption(repository, name, io::text({buffer.data(), count}), decrypts));
    std::unique_ptr<io::Sink> decryptor;
    if (decrypts) decryptor = crypto::make_decryptor(pass, crypto::CipherForm::normal, sink);
    io::Sink& front = decryptor ? *decryptor : sink;
    std::uint64_t size = 0;
    Result<> taken;
    for (; count > 0; count = CHRONOS_TRY(source->read(buffer))) {
        size += count;
        if (size > kTextSizeMax)
            return Error(ErrorKind::format, "'" + repository.storage->describe(name) +
                                                "' has more than " + std::to_string(kTextSizeMax) +
                                                " bytes");
        if (taken) taken = front.write({buffer.data(), count});
    }
    if (taken) taken = front.finish();
    if (taken || !decrypts) return taken;
    // A file that was cut short says so; anything else is what a wrong passphrase looks like.
    if (size % 16 != 0)
        return std::move(taken).error().while_doing("read '" + repository.storage->describe(name) +
                                                    "'");
    return wrong_passphrase(repository, name, pass);
}

Result<std::string> read_text(const Repository& repository, const std::string& name,
                              const std::string& pass) {
    io::MemorySink text(kTextSizeMax);
    CHRONOS_TRY(read_text_into(repository, name, pass, text));
    return std::move(text.content);
}

Result<std::string> encode_text(const Repository& repository, std::string_view content,
                                const std::string& pass) {
    if (!repository.encrypted() || pass.empty()) return std::string(content);
    io::MemorySink stored;
    const auto encryptor = crypto::make_encryptor(pass, crypto::CipherForm::normal, stored);
    CHRONOS_TRY(encryptor->write(io::bytes(content)));
    CHRONOS_TRY(encryptor->finish());
    return std::move(stored.content);
}

Result<> write_text(const Repository& repository, const std::string& name, std::string_view content,
                    const std::string& pass) {
    const std::string stored = CHRONOS_TRY(encode_text(repository, content, pass));
    return storage::write_object(*repository.storage, name, stored);
}

std::string archive_path(const std::string& stanza) {
    return "archive/" + stanza;
}
std::string backup_path(const std::string& stanza) {
    return "backup/" + stanza;
}
std::string backup_path(const std::string& stanza, std::string_view label) {
    return ("backup/" + stanza + "/").append(label);
}

bool is_backup_label(std::string_view text) {
    if (!is_label_part(text.substr(0, 16), "F")) return false;
    return text.size() == 16 ||
           (text.size() == 33 && text[16] == '_' && is_label_part(text.substr(17), "DI"));
}

bool is_pg_version(std::string_view text) {
    const std::vector<std::string_view> parts = split(text, '.');
    return std::none_of(parts.begin(), parts.end(), [](std::string_view part) {
        return part.empty() || !std::all_of(part.begin(), part.end(), is_digit);
    });
}

bool is_archive_id(std::string_view text) {
    const std::size_t dash = text.find('-');
    if (dash == std::string_view::npos) return false;
    const std::string_view id = text.substr(dash + 1);
    return is_pg_version(text.substr(0, dash)) && !id.empty() &&
           std::all_of(id.begin(), id.end(), is_digit);
}

}  // namespace chronos::repo
