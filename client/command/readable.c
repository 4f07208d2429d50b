#include "readable.h"

#include "base64.h"
#include "utf8.h"

static bool is_readable(struct everdue_bytes bytes)
{
    const char *data = bytes.data;
    for (size_t i = 0; i < bytes.count;) {
        unsigned char byte = (unsigned char)data[i];
        size_t count = utf8_first(data + i, bytes.count - i);
        /* Terminals take the control characters from U+0080 to U+009F as such. */
        bool is_control = byte < 0x20 || byte == 0x7f ||
                          (byte == 0xc2 && count == 2 && (unsigned char)data[i + 1] < 0xa0);
        if (count == 0 || is_control)
            return false;
        i += count;
    }
    return true;
}

void readable_add(struct text *text, struct everdue_bytes bytes)
{
    if (is_readable(bytes)) {
        text_add(text, bytes.data, bytes.count);
        return;
    }
    text_add_string(text, "base64:");
    base64_encode(text, bytes.data, bytes.count, BASE64_STANDARD);
}
