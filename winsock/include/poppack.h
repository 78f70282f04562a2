/* The end of pshpack1.h. */
#pragma pack(pop)
