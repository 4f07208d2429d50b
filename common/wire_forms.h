/* wire_forms.h - the first bytes of msgpack's forms. Used by wire*.c and wire_quick.h only. */
#ifndef EVERDUE_WIRE_FORMS_H
#define EVERDUE_WIRE_FORMS_H

/* Of a range of forms only the ends are named. */
enum {
    FIX_MAP = 0x80,
    FIX_ARRAY = 0x90,
    FIX_STR = 0xa0,
    NIL = 0xc0,
    NEVER_USED = 0xc1,
    FALSE_BYTE = 0xc2,
    TRUE_BYTE = 0xc3,
    BIN_8 = 0xc4,
    BIN_16 = 0xc5,
    BIN_32 = 0xc6,
    EXT_8 = 0xc7,
    EXT_16 = 0xc8,
    EXT_32 = 0xc9,
    FLOAT_32 = 0xca,
    FLOAT_64 = 0xcb,
    UINT_8 = 0xcc,
    UINT_16 = 0xcd,
    UINT_32 = 0xce,
    UINT_64 = 0xcf,
    INT_8 = 0xd0,
    INT_16 = 0xd1,
    INT_32 = 0xd2,
    INT_64 = 0xd3,
    FIX_EXT_1 = 0xd4,
    FIX_EXT_16 = 0xd8,
    STR_8 = 0xd9,
    STR_16 = 0xda,
    STR_32 = 0xdb,
    ARRAY_16 = 0xdc,
    ARRAY_32 = 0xdd,
    MAP_16 = 0xde,
    MAP_32 = 0xdf,
    FIX_NEGATIVE = 0xe0,
};

#endif
